package ociclient

import (
	"errors"
	"fmt"
)

// Lost means that no answer came: what was asked may have been done or not. A
// 5xx says as little.
type Lost struct{ Err error }

func (l *Lost) Error() string { return "no answer: " + l.Err.Error() }
func (l *Lost) Unwrap() error { return l.Err }

// IsLost says whether there was no answer that tells what happened.
func IsLost(err error) bool {
	lost := (*Lost)(nil)
	return errors.As(err, &lost)
}

// Refused is an answer other than the one that was hoped for.
type Refused struct {
	What   string
	Status int
	Body   string
}

func (r *Refused) Error() string { return fmt.Sprintf("%s: status %d: %s", r.What, r.Status, r.Body) }

// StatusOf is the status of the Refused in err, also in one that is Lost; 0
// without one.
func StatusOf(err error) int {
	refused := (*Refused)(nil)
	if errors.As(err, &refused) {
		return refused.Status
	}
	return 0
}
