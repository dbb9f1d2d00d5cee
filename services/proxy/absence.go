package proxy

import (
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

// knownAbsences is how many a process remembers: a storm of made-up tags fills
// this and nothing else (contract row E14).
const knownAbsences = 65536

// absences remembers what upstreams said that they do not have, and until when
// that counts.
type absences struct {
	until *lru.Cache[string, time.Time]
}

func newAbsences() *absences {
	c, err := lru.New[string, time.Time](knownAbsences)
	if err != nil {
		panic(err) // only for a size below 1
	}
	return &absences{c}
}

func (a *absences) add(key string, now time.Time, ttl time.Duration) {
	if ttl > 0 {
		a.until.Add(key, now.Add(ttl))
	}
}

func (a *absences) knows(key string, now time.Time) bool {
	until, ok := a.until.Get(key)
	return ok && now.Before(until)
}

func (a *absences) drop(key string) { a.until.Remove(key) }
