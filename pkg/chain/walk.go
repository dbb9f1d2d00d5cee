package chain

import (
	"errors"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// Walk asks the members of a chain for a name, in order. Only an authoritative "not
// here" continues by itself. An outage ends the walk: that member may have the
// content, and another one's must not replace it (contract row E10). A walk is for
// one goroutine.
type Walk struct {
	Chain
	Name      string // as clients of the registry use it
	Direct    bool   // the client named the upstream: Name is the upstream's own, and no registry claims it
	Anonymous bool   // the caller is not logged in
	Caller    Caller // where the group does not delegate
	// Claimed says whether a registry of the chain has, or ever had, the name. It
	// is looked up when the first upstream is reached, and remembered.
	Claimed func() (bool, error)

	// The results of the last Ask: those of all members, and the first failure after
	// which the policy continued.
	Results []Result
	Passed  error

	NotAsked []string // in any Ask, since the name is claimed

	claimKnown, claimed bool
}

// Result is the result of asking a member.
type Result struct {
	Member *Member
	Err    error
}

// AskFunc asks a member for a repository, by the name that it has there.
type AskFunc func(m *Member, name string) error

// Ask asks these members until ask succeeds for one, or fails in a way after which
// the member's policy does not continue. ErrNotHere says that no member has it.
func (w *Walk) Ask(members []Member, ask AskFunc) error {
	w.Results, w.Passed = nil, nil
	return w.askInOrder(members, ask)
}

// Find asks all members. It returns ErrNotHere only if certainly no member has the
// content, and the caller may know.
func (w *Walk) Find(ask AskFunc) error {
	err := w.Ask(w.Members, ask)
	switch {
	case !errors.Is(err, ErrNotHere):
		return err
	case w.Passed != nil:
		return w.Passed
	default:
		return w.NotHere()
	}
}

// NotHere is ErrNotHere, or ErrLogin if a member for the name serves only callers
// who are logged in.
func (w *Walk) NotHere() error {
	if w.Anonymous && w.Withholds(w.Name, w.Caller) {
		return ErrLogin
	}
	return ErrNotHere
}

func (w *Walk) askInOrder(members []Member, ask AskFunc) error {
	for i := range members {
		m := &members[i]
		err := w.askOne(m, ask)
		outcome := OutcomeOf(err)
		continues := outcome == Denied && m.ContinuesOnDenied(err)
		if outcome == Denied && !continues {
			err = m.explainDenial(err)
		}
		w.Results = append(w.Results, Result{m, err})
		if outcome == NotHere && len(m.Members) > 0 { // a registry has the members of its own group
			err = w.askInOrder(m.Members, ask)
			outcome = OutcomeOf(err)
			continues = outcome == Denied && m.ContinuesOnDenied(err)
		}
		switch {
		case outcome == NotHere, outcome == Skipped:
		case continues:
		case outcome == Outage && m.ContinuesOnOutage() && !errors.Is(err, ErrInternal):
			if w.Passed == nil {
				w.Passed = err
			}
		default:
			return err
		}
	}
	return ErrNotHere
}

func (w *Walk) askOne(m *Member, ask AskFunc) error {
	name, err := w.admits(m)
	if err != nil {
		return err
	}
	return ask(m, name)
}

// admits decides whether the member is asked, and returns the name that the repository has
// there.
func (w *Walk) admits(m *Member) (string, error) {
	switch {
	case !m.Takes(w.Name):
		return "", SkipError{"the group does not ask it for this name"}
	case !m.Rights(w.Caller).Has(access.Pull):
		return "", errNotAllowed
	case m.Upstream == nil:
		return w.Name, nil
	}
	name, ok := w.nameAt(m.Upstream)
	if !ok {
		return "", ErrNotOffered
	}
	answers := !w.Anonymous || m.Upstream.Settings.ServesAnonymous()
	claimed, err := w.isClaimed(m.Upstream)
	switch {
	case err != nil:
		return "", Internal(err)
	case claimed:
		if answers {
			w.NotAsked = append(w.NotAsked, m.Name)
		}
		return "", SkipError{"a registry of this tenant claims this name: it has, or had, a repository of that name"}
	case !answers:
		return "", ErrLogin
	default:
		return name, nil
	}
}

// Foresee returns what Find would do with each member, without asking one: err is nil for a
// member that would be asked, if no member before it has the content. Members of a
// registry that would not be asked are not in it.
func (w *Walk) Foresee() []Result {
	return w.foresee(w.Members)
}

func (w *Walk) foresee(members []Member) []Result {
	var out []Result
	for i := range members {
		_, err := w.admits(&members[i])
		if out = append(out, Result{&members[i], err}); err == nil {
			out = append(out, w.foresee(members[i].Members)...)
		}
	}
	return out
}

// NotLoggedIn is why callers without a credential get nothing from an upstream, for people.
const NotLoggedIn = "callers who are not logged in get nothing by its credential: its serve_anonymous is not set"

// WhyNotAsked says for people why a member was not asked; empty if it was.
func WhyNotAsked(err error) string {
	var skipped SkipError
	switch {
	case errors.As(err, &skipped):
		return skipped.Why
	case errors.Is(err, ErrLogin):
		return NotLoggedIn
	default:
		return ""
	}
}

// nameAt is the upstream's own name of the repository. It returns false if the
// settings exclude it.
func (w *Walk) nameAt(u *meta.Upstream) (string, bool) {
	if !w.Direct {
		return NameAt(u, w.Name)
	}
	return w.Name, oci.CheckName(w.Name) == nil && Offers(u, w.Name)
}

// isClaimed reports whether the upstream is not asked since the name is claimed: an
// upstream must not take over names that the chain's registries have, or ever had
// (contract row E9).
func (w *Walk) isClaimed(u *meta.Upstream) (bool, error) {
	if w.Direct || AllowsClaimed(u, w.Name) {
		return false, nil
	}
	if !w.claimKnown {
		claimed, err := w.Claimed()
		if err != nil {
			return false, err
		}
		w.claimKnown, w.claimed = true, claimed
	}
	return w.claimed, nil
}
