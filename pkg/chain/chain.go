// Package chain decides who answers for what a registry does not hold: the members
// of its upstream group and of theirs, in which order, for which names, and what
// follows from what each said. It knows no store and no HTTP.
package chain

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// MaxMembers is how many members a chain may come to, those of its registries'
// own groups included: what one pull may ask at most.
const MaxMembers = 64

// Chain is what a registry's group comes to.
type Chain struct {
	Members []Member
	// Registries are the registry itself and all registries in the chain: names
	// of theirs are claimed.
	Registries []tenant.RegistryID
	slugs      []string // of Registries
}

// Slug is that of the registry at index i of Registries.
func (c Chain) Slug(i int) string { return c.slugs[i] }

// Of follows the groups from a registry on, by its slug. A registry without a
// group has an empty chain. A chain that cannot be followed to its end, since it
// comes back to itself, is too long or names what is not there, is an error: its
// members must not be taken for ones that do not have something.
func Of(t meta.Topology, registry string) (Chain, error) {
	f := follower{topology: t}
	r, ok := t.Registries[registry]
	if !ok {
		return Chain{}, broken("there is no registry %q", registry)
	}
	f.chain = Chain{Registries: []tenant.RegistryID{r.ID}, slugs: []string{registry}}
	members, err := f.follow(registry, r.Group)
	f.chain.Members = members
	return f.chain, err
}

// follower follows groups.
type follower struct {
	topology meta.Topology
	path     []string // slugs of the registries whose groups are being followed
	chain    Chain    // its registries, so far
	count    int
}

func (f *follower) follow(registry, group string) ([]Member, error) {
	if group == "" {
		return nil, nil
	}
	if i := slices.Index(f.path, registry); i >= 0 {
		return nil, broken("the chain comes back to itself: %s", strings.Join(append(f.path[i:], registry), " → "))
	}
	f.path = append(f.path, registry)
	defer func() { f.path = f.path[:len(f.path)-1] }()
	entries, ok := f.topology.Groups[group]
	if !ok {
		return nil, broken("there is no upstream group %q", group)
	}
	members := make([]Member, 0, len(entries))
	for _, entry := range entries {
		if f.count++; f.count > MaxMembers {
			return nil, broken("the chain of registry %q has more than %d members, those of its members' groups included", f.path[0], MaxMembers)
		}
		m, err := f.member(entry)
		if err != nil {
			return nil, err
		}
		members = append(members, m)
	}
	return members, nil
}

func (f *follower) member(entry meta.Member) (Member, error) {
	if entry.Upstream != "" {
		u, ok := f.topology.Upstreams[entry.Upstream]
		if !ok {
			return Member{}, broken("there is no upstream %q", entry.Upstream)
		}
		return Member{Name: "upstreams/" + entry.Upstream, Upstream: &u, entry: entry}, nil
	}
	r, ok := f.topology.Registries[entry.Registry]
	if !ok {
		return Member{}, broken("there is no registry %q", entry.Registry)
	}
	if !slices.Contains(f.chain.Registries, r.ID) {
		f.chain.Registries, f.chain.slugs = append(f.chain.Registries, r.ID), append(f.chain.slugs, entry.Registry)
	}
	members, err := f.follow(entry.Registry, r.Group)
	return Member{Name: "registries/" + entry.Registry, Registry: r.ID, Members: members, entry: entry}, err
}

func broken(format string, args ...any) error {
	return fault.New(fault.Invalid, fault.RequestInvalid, format, args...)
}

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
