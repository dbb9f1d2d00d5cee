package chain

import "time"

// Outcome is what a member said.
type Outcome string

// The outcomes. Only an authoritative "not here" lets a walk go on by itself.
const (
	Found   Outcome = "found"
	NotHere Outcome = "not_here"
	Denied  Outcome = "denied"
	Outage  Outcome = "outage"
	Skipped Outcome = "skipped" // not asked: see Answer.Detail
)

// Account tells how a reference was resolved: who was asked, in order, what each
// said, and who won.
type Account struct {
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
