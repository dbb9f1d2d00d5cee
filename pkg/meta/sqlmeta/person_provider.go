package sqlmeta

import (
	"cmp"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
)

const (
	findProviderOffer = `SELECT tenant_id, disabled, tenants FROM identity_providers WHERE id = $1`
	lockProviderOffer = findProviderOffer + ` FOR KEY SHARE`

	endReadingOf = `UPDATE account_identities SET groups_until = berth_now() WHERE tenant_id = $1 AND account_id = $2 AND groups_until > berth_now()`
)

// lockProvider checks that what the person's provider says counts, and keeps it so until the end
// of the transaction. fault.ResourceUnknown: it was deleted, is disabled, or is not offered to the
// tenant any more.
func lockProvider(t Tx, p meta.Person) error {
	offer := meta.IdentityProvider{ID: p.Provider}
	dest := []any{&offer.Tenant, &offer.Disabled, jsonScanner{&offer.Tenants}}
	missing := fault.New(fault.NotFound, fault.ResourceUnknown, "the identity provider is not used any more")
	found, err := t.Find(findProviderOffer, []any{p.Provider}, dest...)
	if err != nil || !found {
		return cmp.Or[error](err, missing)
	}
	if offer.Tenant != meta.Deployment { // changes of it lock the tenant first, those of the operator's the provider
		var one int64
		if found, err := t.Find(t.Pick(tenantLives, lockTenant), []any{p.Tenant}, &one); err != nil || !found {
			return cmp.Or[error](err, missing)
		}
	}
	found, err = t.Find(t.Pick(findProviderOffer, lockProviderOffer), []any{p.Provider}, dest...)
	if err != nil || !found || offer.Disabled || !offer.OfferedTo(p.Tenant) {
		return cmp.Or[error](err, missing)
	}
	return nil
}

// endReading ends the groups of a person.
func endReading(t Tx, p meta.Person) error {
	var had []string
	var count bool
	var readAt time.Time
	found, err := t.Find(findReading, []any{p.Tenant, p.ID}, jsonScanner{&had}, &count, timeScanner{&readAt})
	if err != nil || !found || !count {
		return err
	}
	if err := t.Queue(raiseAccessVersion, p.Tenant); err != nil { // tenants are locked before people
		return err
	}
	return t.Queue(endReadingOf, p.Tenant, p.ID)
}
