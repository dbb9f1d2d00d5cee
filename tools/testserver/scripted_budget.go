package testserver

import (
	"fmt"
	"net/http"
)

// budget is how many manifests may be had, as Docker Hub limits them: a HEAD is free.
type budget struct{ limit, left int }

// Limit allows so many GETs of manifests from now on, of which left are left, and says so
// as Docker Hub does. After them it answers 429. A limit of 0 is none.
func (s *Scripted) Limit(limit, left int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.budget = budget{limit, left}
}

// charge says whether a manifest may be had.
func (s *Scripted) charge(w http.ResponseWriter, r *http.Request) bool {
	s.mu.Lock()
	b := &s.budget
	allowed := b.left > 0 || b.limit == 0 || r.Method == http.MethodHead
	if allowed && r.Method != http.MethodHead {
		b.left = max(0, b.left-1)
	}
	now := *b
	s.mu.Unlock()
	if now.limit > 0 {
		w.Header().Set("RateLimit-Limit", fmt.Sprintf("%d;w=21600", now.limit))
		w.Header().Set("RateLimit-Remaining", fmt.Sprintf("%d;w=21600", now.left))
	}
	if !allowed {
		refuse(w, http.StatusTooManyRequests, "TOOMANYREQUESTS")
	}
	return allowed
}
