package proxy

import (
	"context"
	"errors"

	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/upstream"
)

// walk asks the members of a chain, in order, until one has the answer. Only an
// authoritative "not here" goes on by itself; an outage ends the walk, since
// nobody can say whether that member has it, and the answer of another would
// take its place (contract row E10).
type walk[T any] struct {
	*Service
	asked

	hosted func(ctx context.Context, r meta.Repo) (T, error)
	remote func(ctx context.Context, r remote) (T, error)
	// note is told what each member said; it may be nil.
	note func(m *chain.Member, v T, err error)

	claimed  func() (bool, error)
	withheld []string // the upstreams that were not asked since the name is claimed
	passed   error    // how the first member failed of those whose policy it is to go on
}

// errSkipped is noted for members that are not asked.
type errSkipped struct{ why string }

func (e errSkipped) Error() string { return e.why }

// errNotOffered is for names that the tenant does not take from the upstream.
var errNotOffered = errSkipped{"the upstream is not asked for this name"}

// find returns notHere where nobody has it and nobody failed.
func (w *walk[T]) find(ctx context.Context, notHere error) (T, error) {
	v, err := w.run(ctx)
	if errors.Is(err, errNotHere) {
		err = w.passed // after a failure nobody knows whether it is there
		if err == nil {
			err = w.orLogin(nil)
		}
		if err == nil {
			err = w.explain(ctx, notHere)
		}
	}
	return v, err
}

// run returns errNotHere where none of those who answer has it.
func (w *walk[T]) run(ctx context.Context) (T, error) {
	if w.claimed == nil {
		w.claimed = w.claims(ctx)
	}
	return w.members(ctx, w.chain.Members)
}

// errNotHere says that all who were asked do not have it.
var errNotHere = errors.New("proxy: no member has it")

func (w *walk[T]) members(ctx context.Context, members []chain.Member) (T, error) {
	var none T
	for i := range members {
		m := &members[i]
		v, err := w.member(ctx, m)
		switch outcomeOf(err) {
		case chain.Found:
			return v, nil
		case chain.Denied:
			if m.ContinuesOnDenied() {
				continue
			}
		case chain.Outage:
			if m.ContinuesOnOutage() && !errors.Is(err, errOurs) {
				if w.passed == nil {
					w.passed = err
				}
				continue
			}
		default:
			continue
		}
		return none, err
	}
	return none, errNotHere
}

// member asks one member, and where it is a registry that does not have it, the
// members of its own group.
func (w *walk[T]) member(ctx context.Context, m *chain.Member) (T, error) {
	var v T
	var err error
	switch {
	case !m.Takes(w.Name):
		err = errSkipped{"the group does not ask it for this name"}
	case m.Upstream != nil:
		v, err = w.upstream(ctx, m)
	case w.hosted != nil:
		v, err = w.hosted(ctx, meta.Repo{Tenant: w.Tenant, Registry: m.Registry, Name: w.Name})
		err = ours(err)
	default:
		err = errNotHere
	}
	if w.note != nil {
		w.note(m, v, err)
	}
	if outcomeOf(err) == chain.NotHere && len(m.Members) > 0 {
		return w.members(ctx, m.Members)
	}
	return v, err
}

// upstream asks an upstream, unless the name is one of the tenant's own: what it
// has, or ever had, nobody outside can take over (contract row E9).
func (w *walk[T]) upstream(ctx context.Context, m *chain.Member) (T, error) {
	var none T
	name, ok := w.nameAt(m)
	if !ok {
		return none, errNotOffered
	}
	if !chain.AllowsClaimed(m.Upstream, w.Name) {
		claimed, err := w.claimed()
		if err != nil {
			return none, ours(err)
		}
		if claimed && w.hears(m.Upstream) {
			w.withheld = append(w.withheld, m.Name)
		}
		if claimed {
			return none, errSkipped{"a registry of this tenant claims this name: it has, or had, a repository of that name"}
		}
	}
	if !w.hears(m.Upstream) {
		return none, withheld
	}
	r, err := w.at(m, w.Ask, name)
	if err != nil {
		return none, err
	}
	return w.remote(ctx, r)
}

// hears says whether the caller is answered from the upstream.
func (a asked) hears(u *meta.Upstream) bool {
	return !a.Anonymous || u.Settings.ServesAnonymous()
}

// claims finds out at most once whether the name is the tenant's own. One that
// the client asks of an upstream by its host is never mistaken for another's.
func (w *walk[T]) claims(ctx context.Context) func() (bool, error) {
	known, claimed := w.Ask.Upstream != "", false
	return func() (bool, error) {
		if known {
			return claimed, nil
		}
		var err error
		claimed, err = w.meta.ClaimedBy(ctx, w.Tenant, w.chain.Registries, w.Name)
		known = err == nil
		return claimed, err
	}
}

// errOurs marks a failure of ours: it says nothing about a member, and no policy
// goes over it.
var errOurs = errors.New("proxy: our own failure")

// ours marks what our own store failed with, and not that something is not
// there.
func ours(err error) error {
	if err == nil || fault.KindOf(err) == fault.NotFound {
		return err
	}
	return ourFailure{err}
}

// ourFailure is errOurs beside its cause.
type ourFailure struct{ error }

func (e ourFailure) Unwrap() error        { return e.error }
func (e ourFailure) Is(target error) bool { return target == errOurs }

// outcomeOf says what a member said, by the error that asking it ended with.
func outcomeOf(err error) chain.Outcome {
	var skipped errSkipped
	var remote *upstream.Error
	switch {
	case err == nil:
		return chain.Found
	case errors.As(err, &skipped):
		return chain.Skipped
	case errors.Is(err, errNotHere):
		return chain.NotHere
	case errors.Is(err, errLogin):
		return chain.Denied
	case errors.Is(err, errOurs):
		return chain.Outage
	case errors.As(err, &remote):
		switch upstream.OutcomeOf(err) {
		case upstream.NotHere:
			return chain.NotHere
		case upstream.Denied:
			return chain.Denied
		default:
			return chain.Outage
		}
	case fault.KindOf(err) == fault.NotFound:
		return chain.NotHere
	default:
		return chain.Outage
	}
}
