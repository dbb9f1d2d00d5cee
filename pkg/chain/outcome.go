package chain

import (
	"errors"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
)

// Outcome is what a member said.
type Outcome string

// The outcomes. Only an authoritative "not here" lets a walk continue by itself.
const (
	Found   Outcome = "found"
	NotHere Outcome = "not_here"
	Denied  Outcome = "denied"
	Outage  Outcome = "outage"
	Skipped Outcome = "skipped" // not asked: see Answer.Detail
)

// What asking a member may end with, besides the errors of stores and upstreams.
var (
	ErrNotHere = errors.New("chain: not here")
	// ErrLogin is for callers who are not logged in, where an upstream answers only
	// others. It is the same whether the content exists or not, and whichever
	// upstream it is about (contract row S74).
	ErrLogin = errors.New("chain: only callers who are logged in get an answer")
	// ErrInternal is an internal failure: it says nothing about a member, and no
	// member policy may override it. See Internal.
	ErrInternal = errors.New("chain: internal failure")
)

// SkipError is why a member is not asked.
type SkipError struct{ Why string }

func (e SkipError) Error() string { return e.Why }

// ErrNotOffered is for names that the tenant does not take from the upstream.
var ErrNotOffered = SkipError{"the upstream is not asked for this name"}

// Internal marks what a store of this deployment failed with as ErrInternal, except
// for an authoritative absence.
func Internal(err error) error {
	if err == nil || fault.KindOf(err) == fault.NotFound {
		return err
	}
	return internalError{err}
}

type internalError struct{ error }

func (e internalError) Unwrap() error        { return e.error }
func (e internalError) Is(target error) bool { return target == ErrInternal }

// OutcomeOf is what a member said, by the error that asking it ended with.
func OutcomeOf(err error) Outcome {
	var skipped SkipError
	switch {
	case err == nil:
		return Found
	case errors.As(err, &skipped):
		return Skipped
	case errors.Is(err, ErrNotHere):
		return NotHere
	case errors.Is(err, ErrLogin):
		return Denied
	case errors.Is(err, ErrInternal):
		return Outage
	}
	switch fault.KindOf(err) {
	case fault.NotFound:
		return NotHere
	case fault.Denied:
		return Denied
	default:
		return Outage
	}
}

// Trace tells how a reference was resolved: who was asked, in order, what each
// said, and who won.
type Trace struct {
	Name, Reference string
	Answers         []Answer
	Winner          int     // index of the answer that was given; -1 for none
	Outcome         Outcome // for the client
}

// Answer is what one member said.
type Answer struct {
	Member    string // "registries/prod", "upstreams/ghcr"
	Outcome   Outcome
	Detail    string    // why, for people; never an internal address
	Digest    string    // of what it has
	Cached    bool      // answered without asking the upstream
	Stale     bool      // answered with what is older than it should be, as the upstream is out
	CheckedAt time.Time // when the upstream said so last; zero for a registry
}
