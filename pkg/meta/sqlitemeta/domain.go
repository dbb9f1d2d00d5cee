package sqlitemeta

import (
	"context"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

const selectDomain = `
SELECT d.tenant_id, r.slug, d.host, d.verified, d.challenge, d.version, d.created_at
FROM domains d JOIN registries r ON r.tenant_id = d.tenant_id AND r.id = d.registry_id
WHERE d.tenant_id = ?1 AND r.state = 'active'`

func scanDomain(scan scan) (meta.Domain, error) {
	var d meta.Domain
	err := scan(&d.Tenant, &d.Registry, &d.Host, &d.Verified, &d.Challenge, &d.Version, moment{&d.CreatedAt})
	return d, err
}

const (
	findDomain  = selectDomain + ` AND d.host = ?2`
	listDomains = selectDomain + ` AND d.host > ?2 ORDER BY d.host LIMIT ?3`
)

// FindDomain implements meta.Domains.
func (s *Store) FindDomain(ctx context.Context, t tenant.ID, host string) (meta.Domain, error) {
	found, err := collect(ctx, s, scanDomain, findDomain, t, host)
	return only(found, err, noDomain(host))
}

// ListDomains implements meta.Domains.
func (s *Store) ListDomains(ctx context.Context, t tenant.ID, p meta.Page) ([]meta.Domain, error) {
	return collect(ctx, s, scanDomain, listDomains, t, p.After, p.Size)
}

const (
	// Of the tenant's own, one that nobody sees does not count.
	replaceDomain = `
DELETE FROM domains WHERE tenant_id = ?1 AND host = ?2
   AND EXISTS (SELECT 1 FROM registries r WHERE r.tenant_id = ?1 AND r.id = domains.registry_id AND r.state <> 'active')`

	domainIsTaken = `SELECT 1 FROM domains WHERE host = ?2 AND verified = 1 UNION ALL SELECT 1 FROM domains WHERE tenant_id = ?1 AND host = ?2`

	insertDomain = `
INSERT INTO domains (tenant_id, host, registry_id, verified, challenge, version, created_at) VALUES (?1, ?2, ?3, ?4, ?5, 1, ?6)`
)

// CreateDomain implements meta.Domains.
func (s *Store) CreateDomain(ctx context.Context, by meta.Cause, d meta.Domain) (meta.Domain, error) {
	err := s.writeFor(ctx, d.Tenant, func(t *tx) error {
		if err := t.change(by, d.Tenant, "domain.create", domainTarget(d.Host)); err != nil {
			return err
		}
		registry, _, err := t.registry(d.Tenant, d.Registry)
		if err != nil {
			return err
		}
		if _, err := t.exec(replaceDomain, d.Tenant, d.Host); err != nil {
			return err
		}
		var one int
		taken, err := t.find(domainIsTaken, []any{d.Tenant, d.Host}, &one)
		if err != nil {
			return err
		}
		if taken {
			return domainTaken(d.Host)
		}
		if _, err := t.exec(insertDomain, d.Tenant, d.Host, registry, d.Verified, d.Challenge, t.now); err != nil {
			return err
		}
		return t.within(s.opts.Limits.DomainLimit(), countDomains, d.Tenant)
	})
	if err != nil {
		return meta.Domain{}, err
	}
	return s.FindDomain(ctx, d.Tenant, d.Host)
}

const (
	findDomainVersion = `
SELECT version FROM domains
 WHERE tenant_id = ?1 AND host = ?2
   AND EXISTS (SELECT 1 FROM registries r WHERE r.tenant_id = ?1 AND r.id = domains.registry_id AND r.state = 'active')`

	updateDomain = `UPDATE domains SET registry_id = ?3, version = version + 1 WHERE tenant_id = ?1 AND host = ?2`
)

// UpdateDomain implements meta.Domains.
func (s *Store) UpdateDomain(ctx context.Context, by meta.Cause, d meta.Domain) (meta.Domain, error) {
	err := s.writeFor(ctx, d.Tenant, func(t *tx) error {
		if err := t.change(by, d.Tenant, "domain.update", domainTarget(d.Host)); err != nil {
			return err
		}
		registry, _, err := t.registry(d.Tenant, d.Registry)
		if err != nil {
			return err
		}
		var have int64
		found, err := t.find(findDomainVersion, []any{d.Tenant, d.Host}, &have)
		if err != nil {
			return err
		}
		if !found {
			return noDomain(d.Host)
		}
		if err := checkVersion(have, d.Version); err != nil {
			return err
		}
		_, err = t.exec(updateDomain, d.Tenant, d.Host, registry)
		return err
	})
	if err != nil {
		return meta.Domain{}, err
	}
	return s.FindDomain(ctx, d.Tenant, d.Host)
}

const verifyDomain = `
UPDATE domains SET verified = 1, version = version + 1
 WHERE tenant_id = ?1 AND host = ?2
   AND EXISTS (SELECT 1 FROM registries r WHERE r.tenant_id = ?1 AND r.id = domains.registry_id AND r.state = 'active')`

// VerifyDomain implements meta.Domains.
func (s *Store) VerifyDomain(ctx context.Context, by meta.Cause, id tenant.ID, host string) (meta.Domain, error) {
	err := s.writeFor(ctx, id, func(t *tx) error {
		if err := t.change(by, id, "domain.verify", domainTarget(host)); err != nil {
			return err
		}
		n, err := t.exec(verifyDomain, id, host)
		switch {
		case violatesUnique(err):
			return domainTaken(host)
		case err == nil && n == 0:
			return noDomain(host)
		}
		return err
	})
	if err != nil {
		return meta.Domain{}, err
	}
	return s.FindDomain(ctx, id, host)
}

const deleteDomain = `
DELETE FROM domains
 WHERE tenant_id = ?1 AND host = ?2
   AND EXISTS (SELECT 1 FROM registries r WHERE r.tenant_id = ?1 AND r.id = domains.registry_id AND r.state = 'active')`

// DeleteDomain implements meta.Domains.
func (s *Store) DeleteDomain(ctx context.Context, by meta.Cause, id tenant.ID, host string) error {
	return s.writeFor(ctx, id, func(t *tx) error {
		if err := t.change(by, id, "domain.delete", domainTarget(host)); err != nil {
			return err
		}
		n, err := t.exec(deleteDomain, id, host)
		if err == nil && n == 0 {
			return noDomain(host)
		}
		return err
	})
}

func domainTarget(host string) string { return "domains/" + host }

func noDomain(host string) error {
	return fault.New(fault.NotFound, fault.ResourceUnknown, "there is no domain %q", host)
}

func domainTaken(host string) error {
	return fault.New(fault.Conflict, fault.AlreadyExists, "domain %q is in use already", host)
}
