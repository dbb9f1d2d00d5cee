package pgmeta

import "time"

// observing begins to measure a call; what it returns is told how the call ended.
func (s *Store) observing(kind string) func(error) {
	if s.opts.Observe == nil {
		return func(error) {}
	}
	began := time.Now()
	return func(err error) { s.opts.Observe(kind, time.Since(began), err) }
}
