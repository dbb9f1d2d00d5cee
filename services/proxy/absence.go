package proxy

import (
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

// knownAbsences is how many a process remembers: a storm of made-up tags fills
// this and nothing else (contract row E14).
const knownAbsences = 65536

// absences remembers what upstreams said that they do not have.
type absences struct {
	until *lru.Cache[string, absence]
}

type absence struct {
	said, until time.Time
}

func newAbsences() *absences {
	c, err := lru.New[string, absence](knownAbsences)
	if err != nil {
		panic(err) // only for a size below 1
	}
	return &absences{c}
}

func (a *absences) add(key string, now time.Time, ttl time.Duration) {
	if ttl > 0 {
		a.until.Add(key, absence{now, now.Add(ttl)})
	}
}

// find says when the upstream said so, if it did and that still counts.
func (a *absences) find(key string, now time.Time) (time.Time, bool) {
	known, ok := a.until.Get(key)
	return known.said, ok && now.Before(known.until)
}

func (a *absences) drop(key string) { a.until.Remove(key) }
