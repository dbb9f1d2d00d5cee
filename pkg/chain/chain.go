// Package chain decides which members are asked for content that a registry does
// not hold: those of its upstream group and of nested groups, in which order, for
// which names, and what follows from each result. It uses no store and no HTTP.
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

// MaxMembers bounds the members of a chain, including nested groups, and so the
// requests of a pull.
const MaxMembers = 64

// Chain is a registry's group with its nested groups.
type Chain struct {
	Members []Member
	// Registries are the registry itself and all registries in the chain. Their names
	// are claimed.
	Registries []tenant.RegistryID
	known      []Registry // what is known of Registries
}

// Registry returns what rights in the registry at index i of Registries depend on.
func (c Chain) Registry(i int) Registry { return c.known[i] }

// Of builds the chain of a registry, by its slug. A registry without a group has an
// empty chain. A cycle, too many members or an unknown name is an error: a partial
// chain would make content look absent.
func Of(t meta.Topology, registry string) (Chain, error) {
	f := follower{topology: t}
	r, ok := t.Registries[registry]
	if !ok {
		return Chain{}, broken("there is no registry %q", registry)
	}
	f.chain = Chain{Registries: []tenant.RegistryID{r.ID}, known: []Registry{{registry, r}}}
	members, err := f.follow(registry, r.Group, nil)
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

// follow finds the members of a registry's group. Those that were checked on the way to it
// are checked.
func (f *follower) follow(registry, group string, checked []Registry) ([]Member, error) {
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
		m, err := f.member(entry, checked)
		if err != nil {
			return nil, err
		}
		members = append(members, m)
	}
	return members, nil
}

func (f *follower) member(entry meta.Member, checked []Registry) (Member, error) {
	if entry.Upstream != "" {
		u, ok := f.topology.Upstreams[entry.Upstream]
		if !ok {
			return Member{}, broken("there is no upstream %q", entry.Upstream)
		}
		return Member{Name: "upstreams/" + entry.Upstream, Upstream: &u, entry: entry, checked: checked}, nil
	}
	r, ok := f.topology.Registries[entry.Registry]
	if !ok {
		return Member{}, broken("there is no registry %q", entry.Registry)
	}
	if !slices.Contains(f.chain.Registries, r.ID) {
		f.chain.Registries, f.chain.known = append(f.chain.Registries, r.ID), append(f.chain.known, Registry{entry.Registry, r})
	}
	if entry.Checked {
		checked = append(slices.Clip(checked), Registry{entry.Registry, r})
	}
	members, err := f.follow(entry.Registry, r.Group, checked)
	return Member{Name: "registries/" + entry.Registry, Registry: r.ID, Members: members, entry: entry, checked: checked}, err
}

func broken(format string, args ...any) error {
	return fault.New(fault.Invalid, fault.RequestInvalid, format, args...)
}

// Outcome is the result of asking a member.
type Outcome string

// The outcomes. Without a member policy, a walk continues only after an
// authoritative "not here".
const (
	Found   Outcome = "found"
	NotHere Outcome = "not_here"
	Denied  Outcome = "denied"
	Outage  Outcome = "outage"
	Skipped Outcome = "skipped" // not asked: see Answer.Detail
)

// The errors of asking a member, besides those of stores and upstreams.
var (
	ErrNotHere = errors.New("chain: not here")
	// ErrLogin is for anonymous callers if an upstream serves only callers who are
	// logged in. It is the same for every upstream, and whether or not the content
	// exists (contract row S74).
	ErrLogin = errors.New("chain: only callers who are logged in get an answer")
	// ErrInternal is an internal failure, not a member's result: no member policy may
	// override it. See Internal.
	ErrInternal = errors.New("chain: internal failure")
)

// SkipError is why a member is not asked.
type SkipError struct{ Why string }

func (e SkipError) Error() string { return e.Why }

// ErrNotOffered is for names that the upstream's settings exclude.
var ErrNotOffered = SkipError{"the upstream is not asked for this name"}

// Internal marks an error of a store of this deployment as ErrInternal, except for
// an authoritative absence and a denial by a rule.
func Internal(err error) error {
	if err == nil || fault.KindOf(err) == fault.NotFound || errors.Is(err, ErrRule) {
		return err
	}
	return internalError{err}
}

type internalError struct{ error }

func (e internalError) Unwrap() error        { return e.error }
func (e internalError) Is(target error) bool { return target == ErrInternal }

// OutcomeOf is the outcome for the error of asking a member.
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

// Trace records how a reference was resolved: the results of the members in order,
// and the winner.
type Trace struct {
	Name, Reference string
	Answers         []Answer
	Winner          int           // index of the answer that was given; -1 for none
	Outcome         Outcome       // for the client
	PullRules       []PullVerdict // of the pull rules that are for what was found
}

// PullVerdict is what a pull rule says of a manifest.
type PullVerdict struct {
	Rule     string // slug
	Enforced bool   // else it only observes
	Lacking  string // what the manifest lacks; empty: the rule is met
	Unknown  bool   // that could not be decided; Lacking says why
}

// Answer is the result of one member.
type Answer struct {
	Member    string // "registries/prod", "upstreams/ghcr"
	Outcome   Outcome
	Detail    string    // why, for people; never an internal address
	Digest    string    // of what it has
	Cached    bool      // answered without asking the upstream
	Stale     bool      // served past its TTL during an outage of the upstream
	CheckedAt time.Time // when the upstream last confirmed it; zero for a registry
}
