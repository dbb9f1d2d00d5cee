package sqlmeta

import (
	"context"
	"encoding/json"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

const (
	deleteRegistry = `
UPDATE registries SET state = 'deleting', version = version + 1, updated_at = berth_now(), deleted_at = berth_now(),
       expire_at = CASE WHEN CAST($3 AS interval) > CAST('0' AS interval) THEN berth_now() + CAST($3 AS interval) END
 WHERE tenant_id = $1 AND id = $2`

	// Others can verify a host that no longer routes.
	closeRegistryDomains = `
UPDATE domains SET verified = false, was_verified = true, version = version + 1 WHERE tenant_id = $1 AND registry_id = $2 AND verified`

	deleteRegistryDomains = `DELETE FROM domains WHERE tenant_id = $1 AND registry_id = $2`
	raiseEpoch            = `UPDATE tenants SET epoch = epoch + 1 WHERE id = $1`

	findDeletedRegistry = `
SELECT id, version, state, coalesce(expire_at > berth_now(), false), settings
  FROM registries WHERE tenant_id = $1 AND slug = $2 AND upstream_id IS NULL`
	lockDeletedRegistry = findDeletedRegistry + ` FOR UPDATE`

	undeleteRegistry = `
UPDATE registries SET state = 'active', settings = $3, version = version + 1, updated_at = berth_now(), deleted_at = NULL, expire_at = NULL
 WHERE tenant_id = $1 AND id = $2`

	openDomainsPostgres = `
UPDATE domains AS d SET verified = NOT EXISTS (SELECT 1 FROM domains other WHERE other.host = d.host AND other.verified),
       was_verified = false, version = version + 1
 WHERE d.tenant_id = $1 AND d.was_verified`
	openDomainsSQLite = `
UPDATE domains AS d SET verified = NOT EXISTS (SELECT 1 FROM domains other WHERE other.host = d.host AND other.verified = 1),
       was_verified = false, version = version + 1
 WHERE d.tenant_id = $1 AND d.was_verified`

	openRegistryDomainsPostgres = openDomainsPostgres + ` AND d.registry_id = $2`
	openRegistryDomainsSQLite   = openDomainsSQLite + ` AND d.registry_id = $2`

	// For one registry, or all active ones. SQLite joins the tables in the written
	// order.
	anyContentPostgres = `
SELECT 1 FROM registries g JOIN repositories r ON r.tenant_id = g.tenant_id AND r.registry_id = g.id
 WHERE g.tenant_id = $1 AND ($2 = 0 OR g.id = $2) AND g.state = 'active' AND g.upstream_id IS NULL
   AND r.state = 'active' AND r.listed
 LIMIT 1`
	anyContentSQLite = `
SELECT 1 FROM registries g CROSS JOIN repositories r ON r.tenant_id = g.tenant_id AND r.registry_id = g.id
 WHERE g.tenant_id = $1 AND ($2 = 0 OR g.id = $2) AND g.state = 'active' AND g.upstream_id IS NULL
   AND r.state = 'active' AND r.listed = 1
 LIMIT 1`
)

// checkEmpty refuses an unforced deletion if there is content. It does not wait for
// pushes in flight, which lock in the other order: an undelete restores their
// content too.
func checkEmpty(t Tx, id tenant.ID, r tenant.RegistryID, force bool) error {
	if force {
		return nil
	}
	var one int64
	found, err := t.Find(t.Pick(anyContentSQLite, anyContentPostgres), []any{id, r}, &one)
	if err == nil && found {
		err = fault.New(fault.Conflict, fault.NotEmpty, "it has content; deleting that needs force")
	}
	return err
}

// DeleteRegistry implements meta.Registries. It raises the tenant's epoch: its
// clients fetch new tokens, and the deleted host gets no new one.
func (s *Records) DeleteRegistry(ctx context.Context, by meta.Cause, id tenant.ID, slug string, version int64, force bool) error {
	return s.remove(ctx, by, id, func(t Tx) error {
		// The tenant's row is locked before the registry's.
		if _, err := t.Exec(raiseEpoch, id); err != nil {
			return err
		}
		r, err := beginRegistryChange(t, t.Pick(findRegistryID, lockRegistryToDelete), by, "registry.delete", id, slug, version)
		if err != nil {
			return err
		}
		if err := checkNoGroupNames(t, id, "registry", slug); err != nil {
			return err
		}
		if err := checkNoRuleNames(t, id, ruleRegistries, slug); err != nil {
			return err
		}
		if err := checkNoMirrorHost(t, id, mirrorHostOfRegistry, "registry", slug); err != nil {
			return err
		}
		overridden, err := guardRegistry(t, by, id, r)
		if err != nil {
			return err
		}
		if err := addChanges(t, by, id, overridden); err != nil {
			return err
		}
		if err := checkEmpty(t, id, r, force); err != nil {
			return err
		}
		if err := t.Queue(deleteRegistry, id, r, t.Interval(s.lifetimes.Undelete)); err != nil {
			return err
		}
		if s.lifetimes.Undelete > 0 {
			return t.Queue(closeRegistryDomains, id, r)
		}
		return t.Queue(deleteRegistryDomains, id, r)
	})
}

// UndeleteRegistry implements meta.Registries.
func (s *Records) UndeleteRegistry(ctx context.Context, by meta.Cause, id tenant.ID, slug string, version int64) (meta.Registry, error) {
	err := s.engine.Write(ctx, id, func(t Tx) error {
		if err := beginAlone(t, by, id, "registry.undelete", RegistryTarget(slug)); err != nil {
			return err
		}
		var r meta.Registry
		var restorable bool
		found, err := t.Find(t.Pick(findDeletedRegistry, lockDeletedRegistry), []any{id, slug},
			&r.ID, &r.Version, &r.State, &restorable, jsonScanner{&r.Settings})
		switch {
		case err != nil:
			return err
		case found && r.State == tenant.Active:
			return fault.New(fault.Conflict, fault.AlreadyExists, "registry %q is not deleted", slug)
		case !restorable:
			return noRegistry(slug)
		}
		if err := checkVersion(r.Version, version); err != nil {
			return err
		}
		if err := dropMissingNames(t, id, &r.Settings); err != nil {
			return err
		}
		settings, err := json.Marshal(r.Settings)
		if err != nil {
			return err
		}
		t.OnViolation("domains_routing", ErrRestart) // another tenant has verified a host
		if err := t.Queue(undeleteRegistry, id, r.ID, string(settings)); err != nil {
			return err
		}
		return t.Queue(t.Pick(openRegistryDomainsSQLite, openRegistryDomainsPostgres), id, r.ID)
	})
	if err != nil {
		return meta.Registry{}, err
	}
	return s.FindRegistry(ctx, id, slug)
}
