package chain

import (
	"errors"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
)

// ErrRule is a denial by a rule of an upstream's settings. Members after it are asked
// only if the member's on_denied says so: the same image must not come another way.
var ErrRule = errors.New("chain: denied by a rule")

// RuleError is ErrRule with its reason.
type RuleError struct{ Fault *fault.Error }

// Error is for logs.
func (e RuleError) Error() string { return e.Fault.Error() }

// Unwrap returns the reason.
func (e RuleError) Unwrap() error { return e.Fault }

// Is reports whether target is ErrRule.
func (e RuleError) Is(target error) bool { return target == ErrRule }

// loginAccepter is the error of an upstream that denied a request.
type loginAccepter interface {
	// LoginAccepted reports whether the upstream had accepted the credential: its token
	// endpoint issued a token for the repository, which the registry then refused.
	LoginAccepted() bool
}

// ContinuesOnDenied reports whether later members are asked after err, a denial of
// this one. Without a credential, some registries deny access to absent content; with
// one, a denial is a fault to be fixed.
//
// Docker Hub denies access to absent content also with a credential. Its denial counts
// like an absence only if it accepted the credential before; no policy continues
// after a refused login (contract row T50).
func (m *Member) ContinuesOnDenied(err error) bool {
	switch policy := m.entry.OnDenied; {
	case errors.Is(err, ErrRule):
		return policy == meta.Continue
	case m.isDockerHub() && !errors.Is(err, ErrLogin):
		return policy != meta.Stop && acceptedLogin(err)
	case policy == "":
		return m.Upstream != nil && !m.Upstream.Settings.HasCredential()
	default:
		return policy == meta.Continue
	}
}

// isDockerHub reports whether the member is Docker Hub, with a credential.
func (m *Member) isDockerHub() bool {
	return m.Upstream != nil && m.Upstream.Settings.HasCredential() && urlHost(m.Upstream) == dockerHub
}

func acceptedLogin(err error) bool {
	var said loginAccepter
	return errors.As(err, &said) && said.LoginAccepted()
}

// explainDenial says, after the denial that ends a walk, how the setting on_denied of
// the member takes part in that. The error stays what it is.
func (m *Member) explainDenial(err error) error {
	if m.Upstream == nil || m.entry.Upstream == "" || errors.Is(err, ErrLogin) {
		return err // not a member of a group, or not the upstream's denial
	}
	why := "members after it are not asked, because its on_denied is STOP"
	switch {
	case m.entry.OnDenied == meta.Stop:
	case errors.Is(err, ErrRule):
		why = "members after it are not asked; with on_denied CONTINUE they are"
	case m.isDockerHub():
		why = "correct the credential; until Docker Hub accepts it, members after it are not asked, whatever on_denied says"
	default:
		why = "members after it are not asked; if this is how it answers for what it does not have, set its on_denied to CONTINUE"
	}
	f := *fault.From(err)
	f.Message = fault.Clip(f.Message + ": " + why)
	return deniedError{error: err, shown: &f}
}

// deniedError is a denial with another message.
type deniedError struct {
	error
	shown *fault.Error
}

func (e deniedError) Unwrap() error { return e.error }

// As makes fault.From find the message.
func (e deniedError) As(target any) bool {
	f, ok := target.(**fault.Error)
	if ok {
		*f = e.shown
	}
	return ok
}
