package chain

import (
	"errors"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// Walk asks the members of a chain for a name, in order. Only an authoritative
// "not here" continues by itself. An outage ends the walk: it is not known whether
// that member has it, and the answer of another would take its place (contract row
// E10). A walk is for one goroutine.
type Walk struct {
	Chain
	Name      string // as clients of the registry say it
	Direct    bool   // the client named the upstream: Name is the upstream's own, and no registry claims it
	Anonymous bool   // the caller is not logged in
	// Claimed says whether a registry of the chain has, or ever had, the name. It
	// is looked up when the first upstream is reached, and remembered.
	Claimed func() (bool, error)

	// What the last Ask came to: what each member said, and how the first failed of
	// those whose policy it is to continue.
	Results []Result
	Passed  error

	NotAsked []string // by any Ask, since the name is claimed

	claimKnown, claimed bool
}

// Result is what asking a member ended with.
type Result struct {
	Member *Member
	Err    error
}

// AskFunc asks a member for a repository, by the name that it has there.
type AskFunc func(m *Member, name string) error

// Ask asks these members of the chain until ask returns nil for one, or fails with
// what the member's policy does not continue after. ErrNotHere says that no member
// answered.
func (w *Walk) Ask(members []Member, ask AskFunc) error {
	w.Results, w.Passed = nil, nil
	return w.askInOrder(members, ask)
}

// Find asks all members. It returns ErrNotHere only where that is sure: no member
// was passed over that may have the content, and the caller may know.
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

// NotHere is ErrNotHere, or ErrLogin where the caller would have to be logged in to
// hear that of all members that are asked for the name.
func (w *Walk) NotHere() error {
	if w.Anonymous && w.Withholds(w.Name) {
		return ErrLogin
	}
	return ErrNotHere
}

func (w *Walk) askInOrder(members []Member, ask AskFunc) error {
	for i := range members {
		m := &members[i]
		err := w.askOne(m, ask)
		w.Results = append(w.Results, Result{m, err})
		outcome := OutcomeOf(err)
		if outcome == NotHere && len(m.Members) > 0 { // a registry has the members of its own group
			err = w.askInOrder(m.Members, ask)
			outcome = OutcomeOf(err)
		}
		switch {
		case outcome == NotHere, outcome == Skipped:
		case outcome == Denied && m.ContinuesOnDenied():
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
	switch {
	case !m.Takes(w.Name):
		return SkipError{"the group does not ask it for this name"}
	case m.Upstream == nil:
		return ask(m, w.Name)
	}
	name, ok := w.nameAt(m.Upstream)
	if !ok {
		return ErrNotOffered
	}
	answers := !w.Anonymous || m.Upstream.Settings.ServesAnonymous()
	claimed, err := w.isClaimed(m.Upstream)
	switch {
	case err != nil:
		return Internal(err)
	case claimed:
		if answers {
			w.NotAsked = append(w.NotAsked, m.Name)
		}
		return SkipError{"a registry of this tenant claims this name: it has, or had, a repository of that name"}
	case !answers:
		return ErrLogin
	default:
		return ask(m, name)
	}
}

// nameAt is the upstream's own name of the repository. It is not ok where the
// tenant does not take that name from it.
func (w *Walk) nameAt(u *meta.Upstream) (string, bool) {
	if !w.Direct {
		return NameAt(u, w.Name)
	}
	return w.Name, oci.CheckName(w.Name) == nil && Offers(u, w.Name)
}

// isClaimed says whether the upstream is not asked since the tenant claims the name:
// what its registries have, or ever had, cannot be taken over from outside (contract
// row E9).
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
