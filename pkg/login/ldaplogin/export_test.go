package ldaplogin

import "time"

// MaxWaiting is maxWaiting.
const MaxWaiting = maxWaiting

// SetIdle says how long connections wait for the next task.
func (c *Client) SetIdle(d time.Duration) {
	for _, s := range c.servers {
		s.idleFor = d
	}
}
