package front

// Realm shows tests the URL that challenges lead to.
func (c *Call) Realm() string { return c.realm }
