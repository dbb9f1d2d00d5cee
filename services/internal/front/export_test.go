package front

import (
	"net/http"
	"time"
)

// Realm shows tests the URL that challenges lead to.
func (c *Call) Realm() string { return c.realm }

// Within makes a Remote that waits no longer than that for a step of the other
// process.
func (s Remote) Within(limit time.Duration) Remote {
	s.StepTimeout = limit
	return s
}

// Patience shows tests how long the other process may take for a step.
func (s Remote) Patience(r *http.Request) time.Duration { return s.stepTimeout(r) }
