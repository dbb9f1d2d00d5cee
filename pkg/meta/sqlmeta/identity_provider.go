package sqlmeta

import (
	"context"
	"encoding/json"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

const (
	selectIdentityProvider = `
SELECT p.id, p.tenant_id, p.slug, p.kind, p.display_name, p.disabled, p.settings, p.secret, p.tenants, p.version, p.created_at, p.updated_at
FROM identity_providers p`

	findIdentityProvider     = selectIdentityProvider + ` WHERE p.tenant_id = $1 AND p.slug = $2`
	findIdentityProviderByID = selectIdentityProvider + ` WHERE p.id = $1`
	listIdentityProviders    = selectIdentityProvider + ` WHERE p.tenant_id = $1 AND p.slug > $2 ORDER BY p.slug LIMIT $3`

	insertIdentityProvider = `
INSERT INTO identity_providers (tenant_id, slug, kind, display_name, disabled, settings, secret, tenants, version, created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 1, berth_now(), berth_now())`

	findIdentityProviderRow = `SELECT id, version FROM identity_providers WHERE tenant_id = $1 AND slug = $2`
	lockIdentityProviderRow = findIdentityProviderRow + ` FOR UPDATE`

	updateIdentityProvider = `
UPDATE identity_providers SET display_name = $3, disabled = $4, settings = $5, secret = $6, tenants = $7, version = version + 1, updated_at = berth_now()
 WHERE tenant_id = $1 AND id = $2`

	deleteIdentityProvider = `DELETE FROM identity_providers WHERE tenant_id = $1 AND id = $2`

	endGroupsPostgres = `
UPDATE account_identities i SET groups_until = berth_now()
 WHERE i.provider_id = $1 AND ($2 OR NOT EXISTS (SELECT 1 FROM json_array_elements_text($3::json) AS offered (id) WHERE CAST(offered.id AS bigint) = i.tenant_id))`
	endGroupsSQLite = `
UPDATE account_identities AS i SET groups_until = berth_now()
 WHERE i.provider_id = $1 AND ($2 OR NOT EXISTS (SELECT 1 FROM json_each($3) j WHERE j.value = i.tenant_id))`

	// After a change of the provider, those who rest are read again: groups come back that may.
	wakePeople = `UPDATE account_identities SET due_at = berth_now() WHERE provider_id = $1 AND due_at IS NULL AND ended_at IS NULL`

	raiseVersionsOfProvider = `
UPDATE tenants SET access_version = access_version + 1 WHERE id IN (SELECT g.tenant_id FROM group_identities g WHERE g.provider_id = $1)`

	groupOfProvider = `SELECT g.group_slug FROM group_identities g WHERE g.provider_id = $1 LIMIT 1`

	// No later provider has the ID.
	forgetProvider = `
UPDATE account_identities SET provider_id = -provider_id, groups_until = berth_now(), due_at = CASE WHEN ended_at IS NULL THEN berth_now() END
 WHERE provider_id = $1`
)

func scanIdentityProvider(scan Scan) (meta.IdentityProvider, error) {
	var p meta.IdentityProvider
	err := scan(&p.ID, &p.Tenant, &p.Slug, &p.Kind, &p.DisplayName, &p.Disabled, jsonScanner{&p.Settings}, &p.Secret, jsonScanner{&p.Tenants},
		&p.Version, timeScanner{&p.CreatedAt}, timeScanner{&p.UpdatedAt})
	return p, err
}

// FindIdentityProvider implements meta.IdentityProviders.
func (s *Records) FindIdentityProvider(ctx context.Context, t tenant.ID, slug string) (meta.IdentityProvider, error) {
	return find(ctx, s, t, noIdentityProvider(slug), scanIdentityProvider, findIdentityProvider, t, slug)
}

// FindIdentityProviderByID implements meta.IdentityProviders.
func (s *Records) FindIdentityProviderByID(ctx context.Context, id int64) (meta.IdentityProvider, error) {
	missing := fault.New(fault.NotFound, fault.ResourceUnknown, "identity provider not found")
	return find(ctx, s, noTenant, missing, scanIdentityProvider, findIdentityProviderByID, id)
}

// ListIdentityProviders implements meta.IdentityProviders.
func (s *Records) ListIdentityProviders(ctx context.Context, t tenant.ID, p meta.Page) ([]meta.IdentityProvider, error) {
	return list(ctx, s, t, scanIdentityProvider, listIdentityProviders, t, p.After, p.Size)
}

// encodedProvider are the columns of a provider that are JSON.
func encodedProvider(p meta.IdentityProvider) (string, string, error) {
	settings, err := json.Marshal(p.Settings)
	if err != nil {
		return "", "", err
	}
	tenants, err := json.Marshal(append([]tenant.ID{}, p.Tenants...)) // never null
	return string(settings), string(tenants), err
}

// beginOfOwner is beginAlone for what a tenant or the deployment has.
func beginOfOwner(t Tx, by meta.Cause, id tenant.ID, verb, target string) error {
	if id == meta.Deployment {
		return Event(t, by, meta.Deployment, verb, target)
	}
	return beginAlone(t, by, id, verb, target)
}

// CreateIdentityProvider implements meta.IdentityProviders.
func (s *Records) CreateIdentityProvider(ctx context.Context, by meta.Cause, p meta.IdentityProvider) (meta.IdentityProvider, error) {
	err := s.engine.Write(ctx, p.Tenant, func(t Tx) error {
		settings, tenants, err := encodedProvider(p)
		if err != nil {
			return err
		}
		if err := beginOfOwner(t, by, p.Tenant, "identityProvider.create", identityProviderTarget(p.Slug)); err != nil {
			return err
		}
		t.OnViolation("identity_providers_by_slug", fault.New(fault.Conflict, fault.AlreadyExists, "identity provider %q exists already", p.Slug))
		if err := t.Queue(insertIdentityProvider, p.Tenant, p.Slug, p.Kind, p.DisplayName, p.Disabled, settings, append([]byte{}, p.Secret...), tenants); err != nil {
			return err
		}
		if p.Tenant == meta.Deployment {
			return nil // operators make them, as they make tenants
		}
		return checkLimit(t, s.limits.IdentityProviderLimit(), countProviders, p.Tenant)
	})
	if err != nil {
		return meta.IdentityProvider{}, err
	}
	return s.FindIdentityProvider(ctx, p.Tenant, p.Slug)
}

// beginProviderChange records the event of a change, locks the provider and checks its version.
// It returns the provider's ID.
func beginProviderChange(t Tx, by meta.Cause, verb string, owner tenant.ID, slug string, version int64) (int64, error) {
	if err := beginOfOwner(t, by, owner, verb, identityProviderTarget(slug)); err != nil {
		return 0, err
	}
	var id, have int64
	found, err := t.Find(t.Pick(findIdentityProviderRow, lockIdentityProviderRow), []any{owner, slug}, &id, &have)
	switch {
	case err != nil:
		return 0, err
	case !found:
		return 0, noIdentityProvider(slug)
	default:
		return id, checkVersion(have, version)
	}
}

// UpdateIdentityProvider implements meta.IdentityProviders.
func (s *Records) UpdateIdentityProvider(ctx context.Context, by meta.Cause, p meta.IdentityProvider) (meta.IdentityProvider, error) {
	err := s.engine.Write(ctx, p.Tenant, func(t Tx) error {
		settings, tenants, err := encodedProvider(p)
		if err != nil {
			return err
		}
		id, err := beginProviderChange(t, by, "identityProvider.update", p.Tenant, p.Slug, p.Version)
		if err != nil {
			return err
		}
		if err := checkSame(id, p.ID, noIdentityProvider(p.Slug)); err != nil {
			return err
		}
		if err := t.Queue(updateIdentityProvider, p.Tenant, id, p.DisplayName, p.Disabled, settings, append([]byte{}, p.Secret...), tenants); err != nil {
			return err
		}
		ends := p.Disabled || len(p.Tenants) > 0
		if ends { // tenants are locked before people
			if err := t.Queue(raiseVersionsOfProvider, id); err != nil {
				return err
			}
		}
		if err := t.Queue(wakePeople, id); err != nil || !ends {
			return err
		}
		return t.Queue(t.Pick(endGroupsSQLite, endGroupsPostgres), id, p.Disabled, tenants)
	})
	if err != nil {
		return meta.IdentityProvider{}, err
	}
	return s.FindIdentityProvider(ctx, p.Tenant, p.Slug)
}

// DeleteIdentityProvider implements meta.IdentityProviders.
func (s *Records) DeleteIdentityProvider(ctx context.Context, by meta.Cause, owner tenant.ID, slug string, version int64) error {
	return s.remove(ctx, by, owner, func(t Tx) error {
		id, err := beginProviderChange(t, by, "identityProvider.delete", owner, slug, version)
		if err != nil {
			return err
		}
		var group string
		named, err := t.Find(groupOfProvider, []any{id}, &group)
		if err != nil {
			return err
		}
		if named {
			return fault.New(fault.Conflict, fault.InUse, "the identity provider is named by group %q; take it out of that first", group)
		}
		for _, statement := range []string{forgetProvider, deleteKeysOfProvider, deleteMappedOfProvider, deleteMadeByProvider} {
			if err := t.Queue(statement, id); err != nil {
				return err
			}
		}
		return t.Queue(deleteIdentityProvider, owner, id)
	})
}

func identityProviderTarget(slug string) string { return "identityProviders/" + slug }

func noIdentityProvider(slug string) error {
	return fault.New(fault.NotFound, fault.ResourceUnknown, "there is no identity provider %q", slug)
}
