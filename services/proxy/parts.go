package proxy

import (
	"context"
	"errors"

	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/meta"
)

// parts is a list of which each member may have a part. hosted and remote take in
// what one of them has; found says whether there is anything by now.
type parts struct {
	hosted func(ctx context.Context, r meta.Repo) error
	remote func(ctx context.Context, r remote) error
	found  func() bool
}

// gather asks the registry itself and then all members. Where nobody has a part,
// and a member failed that was passed over, it may have had one: that is the
// error then.
func (s *Service) gather(ctx context.Context, a asked, p parts) error {
	if a.Upstream == "" {
		own := meta.Repo{Tenant: a.Tenant, Registry: a.chain.Registries[0], Name: a.Name}
		if err := p.hosted(ctx, own); err != nil && outcomeOf(err) != chain.NotHere {
			return err
		}
	}
	w := &walk[struct{}]{
		Service: s, asked: a,
		hosted: func(ctx context.Context, r meta.Repo) (struct{}, error) { return struct{}{}, goOn(p.hosted(ctx, r)) },
		remote: func(ctx context.Context, r remote) (struct{}, error) { return struct{}{}, goOn(p.remote(ctx, r)) },
	}
	_, err := w.run(ctx)
	switch {
	case errors.Is(err, errLogin):
		// The list ends where a pull by the same caller would.
		if p.found() {
			return nil
		}
		return err
	case outcomeOf(err) != chain.NotHere:
		return err
	case !p.found():
		return w.passed
	default:
		return nil
	}
}

// goOn lets a walk go on after a member that has its part: others have more.
func goOn(err error) error {
	if err == nil {
		return errNotHere
	}
	return err
}
