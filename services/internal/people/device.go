package people

import (
	"context"
	"time"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/login/oidclogin"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// FindOnly is Find for the only one that the tenant has.
func (i *Issuers) FindOnly(ctx context.Context, t tenant.ID) (int64, error) {
	p, err := i.find(ctx, t, func(meta.IdentityProvider) bool { return true })
	if err != nil {
		return 0, err
	}
	_, err = i.find(ctx, t, func(other meta.IdentityProvider) bool { return other.ID != p.ID })
	if err == nil {
		return 0, fault.New(fault.Invalid, fault.RequestInvalid, "the tenant has several identity providers of the kind OIDC; name one").WithField("provider")
	}
	if !fault.Is(err, fault.ResourceUnknown) {
		return 0, err
	}
	return p.ID, nil
}

// BeginDevice begins the login of a device.
func (i *Issuers) BeginDevice(ctx context.Context, t tenant.ID, provider int64) (oidclogin.Device, error) {
	_, c, err := i.client(ctx, t, provider)
	if err != nil {
		return oidclogin.Device{}, err
	}
	return c.BeginDevice(ctx)
}

// FinishDevice logs in the person who has logged in at the issuer for a device, once for each id of
// a login. Until then it is an oidclogin.DeviceState. life is how long the login has yet.
func (i *Issuers) FinishDevice(ctx context.Context, t tenant.ID, provider int64, id, code string, life time.Duration) (access.Principal, error) {
	p, c, err := i.client(ctx, t, provider)
	if err != nil {
		return access.Principal{}, err
	}
	said, err := c.FinishDevice(ctx, code)
	if err != nil {
		return access.Principal{}, err
	}
	if err := i.once(ctx, id, life); err != nil {
		return access.Principal{}, err
	}
	return i.admit(ctx, t, p, said)
}
