package tenant

// RateLimits bound what is used of a tenant's registries, in all processes of the
// deployment together: by all its callers, and by each of them, which is an account or, of
// callers without one, an address (of IPv6 its network of 64 bits).
type RateLimits struct {
	Tenant RateLimit `json:"tenant,omitzero"`
	Caller RateLimit `json:"caller,omitzero"`
}

// MinEgress is the least RateLimit.Egress: clients give up what comes more slowly.
const MinEgress = 1 << 20

// RateLimit is one bound. Of each number 0 means that of the deployment, and less than 0 no
// bound.
type RateLimit struct {
	Requests int64 `json:"requests,omitempty"` // a second
	Egress   int64 `json:"egress,omitempty"`   // bytes of content a second
	Uploads  int64 `json:"uploads,omitempty"`  // bodies of blobs that are received at once
}

// Unlimited reports whether nothing is bounded.
func (l RateLimit) Unlimited() bool { return l.Requests <= 0 && l.Egress <= 0 && l.Uploads <= 0 }

// Or returns the bound with the numbers of another one in place of 0.
func (l RateLimit) Or(otherwise RateLimit) RateLimit {
	if l.Requests == 0 {
		l.Requests = otherwise.Requests
	}
	if l.Egress == 0 {
		l.Egress = otherwise.Egress
	}
	if l.Uploads == 0 {
		l.Uploads = otherwise.Uploads
	}
	return l
}
