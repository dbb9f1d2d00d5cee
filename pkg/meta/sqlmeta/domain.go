package sqlmeta

import (
	"context"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

const (
	selectDomain = `
SELECT d.tenant_id, r.slug, d.host, d.verified, d.challenge, d.version, d.created_at
FROM domains d JOIN registries r ON r.tenant_id = d.tenant_id AND r.id = d.registry_id
WHERE d.tenant_id = $1 AND r.state = 'active'`

	findDomain  = selectDomain + ` AND d.host = $2`
	listDomains = selectDomain + ` AND d.host > $2 ORDER BY d.host LIMIT $3`

	thisDomain = ` WHERE d.tenant_id = $1 AND d.host = $2`

	// Domains of a registry that is being deleted are hidden.
	existsActiveRegistry = ` EXISTS (SELECT 1 FROM registries g WHERE g.tenant_id = d.tenant_id AND g.id = d.registry_id AND g.state = 'active')`

	// The tenant's own hidden domain is replaced.
	replaceDomain = `DELETE FROM domains AS d` + thisDomain + ` AND NOT` + existsActiveRegistry

	// SQLite uses the index of verified domains only for verified = 1.
	domainIsTakenPostgres = `SELECT 1 FROM domains WHERE host = $2 AND verified UNION ALL SELECT 1 FROM domains WHERE tenant_id = $1 AND host = $2`
	domainIsTakenSQLite   = `SELECT 1 FROM domains WHERE host = $2 AND verified = 1 UNION ALL SELECT 1 FROM domains WHERE tenant_id = $1 AND host = $2`

	insertDomain = `
INSERT INTO domains (tenant_id, host, registry_id, verified, challenge, version, created_at) VALUES ($1, $2, $3, $4, $5, 1, berth_now())`

	findDomainVersion = `SELECT d.version FROM domains d` + thisDomain + ` AND` + existsActiveRegistry
	lockDomain        = findDomainVersion + ` FOR UPDATE`

	updateDomain = `UPDATE domains SET registry_id = $3, version = version + 1 WHERE tenant_id = $1 AND host = $2`
	verifyDomain = `UPDATE domains AS d SET verified = true, version = version + 1` + thisDomain + ` AND` + existsActiveRegistry
	deleteDomain = `DELETE FROM domains AS d` + thisDomain + ` AND` + existsActiveRegistry
)

func scanDomain(scan Scan) (meta.Domain, error) {
	var d meta.Domain
	err := scan(&d.Tenant, &d.Registry, &d.Host, &d.Verified, &d.Challenge, &d.Version, timeScanner{&d.CreatedAt})
	return d, err
}

// FindDomain implements meta.Domains.
func (s *Records) FindDomain(ctx context.Context, t tenant.ID, host string) (meta.Domain, error) {
	return find(ctx, s, t, noDomain(host), scanDomain, findDomain, t, host)
}

// ListDomains implements meta.Domains.
func (s *Records) ListDomains(ctx context.Context, t tenant.ID, p meta.Page) ([]meta.Domain, error) {
	return list(ctx, s, t, scanDomain, listDomains, t, p.After, p.Size)
}

// CreateDomain implements meta.Domains.
func (s *Records) CreateDomain(ctx context.Context, by meta.Cause, d meta.Domain) (meta.Domain, error) {
	err := s.engine.Write(ctx, d.Tenant, func(t Tx) error {
		if err := beginAlone(t, by, d.Tenant, "domain.create", domainTarget(d.Host)); err != nil {
			return err
		}
		registry, _, err := registryID(t, t.Pick(findRegistryID, lockRegistry), d.Tenant, d.Registry)
		if err != nil {
			return err
		}
		if err := t.Queue(replaceDomain, d.Tenant, d.Host); err != nil {
			return err
		}
		var one int64
		taken, err := t.Find(t.Pick(domainIsTakenSQLite, domainIsTakenPostgres), []any{d.Tenant, d.Host}, &one)
		if err != nil {
			return err
		}
		if taken {
			return domainTaken(d.Host)
		}
		// Another tenant may take the host between the two statements.
		t.OnViolation("domains_pkey", domainTaken(d.Host))
		t.OnViolation("domains_routing", domainTaken(d.Host))
		if err := t.Queue(insertDomain, d.Tenant, d.Host, registry, d.Verified, d.Challenge); err != nil {
			return err
		}
		return checkLimit(t, s.limits.DomainLimit(), countDomains, d.Tenant)
	})
	if err != nil {
		return meta.Domain{}, err
	}
	return s.FindDomain(ctx, d.Tenant, d.Host)
}

// UpdateDomain implements meta.Domains.
func (s *Records) UpdateDomain(ctx context.Context, by meta.Cause, d meta.Domain) (meta.Domain, error) {
	err := s.engine.Write(ctx, d.Tenant, func(t Tx) error {
		if err := begin(t, by, d.Tenant, "domain.update", domainTarget(d.Host)); err != nil {
			return err
		}
		registry, _, err := registryID(t, t.Pick(findRegistryID, lockRegistry), d.Tenant, d.Registry)
		if err != nil {
			return err
		}
		var have int64
		found, err := t.Find(t.Pick(findDomainVersion, lockDomain), []any{d.Tenant, d.Host}, &have)
		if err != nil {
			return err
		}
		if !found {
			return noDomain(d.Host)
		}
		if err := checkVersion(have, d.Version); err != nil {
			return err
		}
		return t.Queue(updateDomain, d.Tenant, d.Host, registry)
	})
	if err != nil {
		return meta.Domain{}, err
	}
	return s.FindDomain(ctx, d.Tenant, d.Host)
}

// VerifyDomain implements meta.Domains.
func (s *Records) VerifyDomain(ctx context.Context, by meta.Cause, id tenant.ID, host string) (meta.Domain, error) {
	err := s.engine.Write(ctx, id, func(t Tx) error {
		if err := begin(t, by, id, "domain.verify", domainTarget(host)); err != nil {
			return err
		}
		t.OnViolation("domains_routing", domainTaken(host))
		return change(t, noDomain(host), verifyDomain, id, host)
	})
	if err != nil {
		return meta.Domain{}, err
	}
	return s.FindDomain(ctx, id, host)
}

// DeleteDomain implements meta.Domains.
func (s *Records) DeleteDomain(ctx context.Context, by meta.Cause, id tenant.ID, host string) error {
	return s.remove(ctx, by, id, func(t Tx) error {
		if err := begin(t, by, id, "domain.delete", domainTarget(host)); err != nil {
			return err
		}
		return change(t, noDomain(host), deleteDomain, id, host)
	})
}

func domainTarget(host string) string { return "domains/" + host }

func noDomain(host string) error {
	return fault.New(fault.NotFound, fault.ResourceUnknown, "there is no domain %q", host)
}

func domainTaken(host string) error {
	return fault.New(fault.Conflict, fault.AlreadyExists, "domain %q is in use already", host)
}
