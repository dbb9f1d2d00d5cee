package sqlmeta

import (
	"context"
	"encoding/json"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/retention"
	"github.com/berth-registry/berth/pkg/tagrule"
	"github.com/berth-registry/berth/pkg/tenant"
)

const (
	selectRetentionPolicy = `
SELECT p.tenant_id, p.slug, p.registry, p.display_name, p.disabled, p.enforced, p.body, p.version, p.created_at, p.updated_at,
       r.number, r.due_at, r.began_at, r.ended_at, r.enforced, r.registry, r.repository, r.repositories, r.deletions, r.tags, r.manifests, r.bytes, r.protected, r.refused, r.limited, r.failure
  FROM retention_policies p JOIN retention_runs r ON r.tenant_id = p.tenant_id AND r.slug = p.slug
 WHERE p.tenant_id = $1`

	findRetentionPolicy   = selectRetentionPolicy + ` AND p.slug = $2`
	listRetentionPolicies = selectRetentionPolicy + ` AND p.slug > $2 ORDER BY p.slug LIMIT $3`

	insertRetentionPolicy = `
INSERT INTO retention_policies (tenant_id, slug, registry, display_name, disabled, enforced, body, version, created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, 1, berth_now(), berth_now())`

	insertRetentionRun = `
INSERT INTO retention_runs (tenant_id, slug, number, enforced, registry, repository, repositories, deletions, tags, manifests, bytes, protected, refused, limited, failure)
VALUES ($1, $2, 0, false, '', '', 0, 0, 0, 0, 0, 0, 0, false, '')`

	findRetentionVersion = `SELECT version FROM retention_policies WHERE tenant_id = $1 AND slug = $2`

	updateRetentionPolicy = `
UPDATE retention_policies SET registry = $3, display_name = $4, disabled = $5, enforced = $6, body = $7, version = version + 1, updated_at = berth_now()
 WHERE tenant_id = $1 AND slug = $2`

	deleteRetentionPolicy = `DELETE FROM retention_policies WHERE tenant_id = $1 AND slug = $2`

	// A run of the policy ends.
	scheduleRetention = `
UPDATE retention_runs SET due_at = CASE WHEN $3 THEN berth_now() + CAST($4 AS interval) END, worker = NULL,
       ended_at = CASE WHEN number = 0 THEN NULL WHEN ended_at IS NULL THEN berth_now() ELSE ended_at END
 WHERE tenant_id = $1 AND slug = $2`

	// It waits for the deletions in flight. Those after it find no worker, and are refused; a
	// worker that claims the run reads the policies. It locks all runs, since one that had no worker
	// in the statement's snapshot may be claimed while it waits.
	endRetentionClaims = `
UPDATE retention_runs SET due_at = CASE WHEN worker IS NULL THEN due_at ELSE berth_now() END, worker = NULL WHERE tenant_id = $1`

	runRetentionNow = `
UPDATE retention_runs SET due_at = berth_now() WHERE tenant_id = $1 AND slug = $2 AND (number = 0 OR ended_at IS NOT NULL)`

	isRetentionDisabled = `SELECT disabled FROM retention_policies WHERE tenant_id = $1 AND slug = $2`
)

// retentionBody is the JSON of a policy, but for what has a column.
type retentionBody struct {
	Repositories []string        `json:"repositories,omitempty"`
	Rules        []retentionRule `json:"rules"`
	Protected    bool            `json:"may_delete_protected,omitempty"`
	Interval     time.Duration   `json:"interval,omitempty"`
	MaxDeletions int64           `json:"max_deletions"`
}

type retentionRule struct {
	Name         string            `json:"name"`
	Action       retention.Action  `json:"action"`
	Untagged     bool              `json:"untagged,omitempty"`
	Tags         []string          `json:"tags,omitempty"`
	Classes      []tagrule.Class   `json:"classes,omitempty"`
	Variants     []string          `json:"variants,omitempty"`
	Versions     *retention.Window `json:"versions,omitempty"`
	Newest       int               `json:"newest,omitempty"`
	OlderThan    time.Duration     `json:"older_than,omitempty"`
	YoungerThan  time.Duration     `json:"younger_than,omitempty"`
	PulledWithin time.Duration     `json:"pulled_within,omitempty"`
	NotPulledFor time.Duration     `json:"not_pulled_for,omitempty"`
	Released     bool              `json:"released,omitempty"`
}

func encodeRetention(p meta.RetentionPolicy) (string, error) {
	b := retentionBody{Repositories: p.Repositories, Protected: p.MayDeleteProtected, Interval: p.Interval, MaxDeletions: p.MaxDeletions}
	for _, r := range p.Rules {
		b.Rules = append(b.Rules, retentionRule{
			r.Name, r.Action, r.Untagged, r.Tags, r.Classes, r.Variants,
			r.Versions, r.Newest, r.OlderThan, r.YoungerThan, r.PulledWithin, r.NotPulledFor, r.Released,
		})
	}
	encoded, err := json.Marshal(b)
	return string(encoded), err
}

// retentionScanner reads a retentionBody into a policy.
type retentionScanner struct{ to *meta.RetentionPolicy }

// Scan implements sql.Scanner.
func (s retentionScanner) Scan(v any) error {
	var b retentionBody
	if err := (jsonScanner{&b}).Scan(v); err != nil {
		return err
	}
	s.to.Repositories, s.to.Interval, s.to.MaxDeletions = b.Repositories, b.Interval, b.MaxDeletions
	s.to.Policy = retention.Policy{MayDeleteProtected: b.Protected}
	for _, r := range b.Rules {
		s.to.Rules = append(s.to.Rules, retention.Rule{
			Name: r.Name, Action: r.Action,
			Selector: retention.Selector{Untagged: r.Untagged, Tags: r.Tags, Classes: r.Classes, Variants: r.Variants},
			Conditions: retention.Conditions{
				Versions: r.Versions, Newest: r.Newest, OlderThan: r.OlderThan, YoungerThan: r.YoungerThan,
				PulledWithin: r.PulledWithin, NotPulledFor: r.NotPulledFor, Released: r.Released,
			},
		})
	}
	return nil
}

func retentionInto(p *meta.RetentionPolicy) []any {
	r := &p.Run
	return []any{
		&p.Tenant, &p.Slug, &p.Registry, &p.DisplayName, &p.Disabled, &p.Enforced,
		retentionScanner{p},
		&p.Version,
		timeScanner{&p.CreatedAt},
		timeScanner{&p.UpdatedAt},
		&r.Number,
		timeScanner{&r.DueAt},
		timeScanner{&r.BeganAt},
		timeScanner{&r.EndedAt},
		&r.Enforced, &r.Registry, &r.Repository, &r.Repositories, &r.Deletions, &r.Tags, &r.Manifests, &r.Bytes, &r.Protected, &r.Refused, &r.Limited, &r.Failure,
	}
}

func scanRetentionPolicy(scan Scan) (meta.RetentionPolicy, error) {
	var p meta.RetentionPolicy
	err := scan(retentionInto(&p)...)
	return p, err
}

// FindRetentionPolicy implements meta.RetentionPolicies.
func (s *Records) FindRetentionPolicy(ctx context.Context, t tenant.ID, slug string) (meta.RetentionPolicy, error) {
	return find(ctx, s, t, noRetentionPolicy(slug), scanRetentionPolicy, findRetentionPolicy, t, slug)
}

// ListRetentionPolicies implements meta.RetentionPolicies.
func (s *Records) ListRetentionPolicies(ctx context.Context, t tenant.ID, p meta.Page) ([]meta.RetentionPolicy, error) {
	return list(ctx, s, t, scanRetentionPolicy, listRetentionPolicies, t, p.After, p.Size)
}

// CreateRetentionPolicy implements meta.RetentionPolicies.
func (s *Records) CreateRetentionPolicy(ctx context.Context, by meta.Cause, p meta.RetentionPolicy) (meta.RetentionPolicy, error) {
	return s.writeRetentionPolicy(ctx, p, func(t Tx, body string) error {
		if err := beginAlone(t, by, p.Tenant, "retentionPolicy.create", meta.RetentionPolicyTarget(p.Slug)); err != nil {
			return err
		}
		t.OnViolation("retention_policies_by_slug", fault.New(fault.Conflict, fault.AlreadyExists, "retention policy %q exists already", p.Slug))
		if err := t.Queue(insertRetentionPolicy, p.Tenant, p.Slug, p.Registry, p.DisplayName, p.Disabled, p.Enforced, body); err != nil {
			return err
		}
		if err := t.Queue(insertRetentionRun, p.Tenant, p.Slug); err != nil {
			return err
		}
		return checkLimit(t, s.limits.RetentionPolicyLimit(), countRetentionPolicies, p.Tenant)
	})
}

// UpdateRetentionPolicy implements meta.RetentionPolicies.
func (s *Records) UpdateRetentionPolicy(ctx context.Context, by meta.Cause, p meta.RetentionPolicy) (meta.RetentionPolicy, error) {
	return s.writeRetentionPolicy(ctx, p, func(t Tx, body string) error {
		if err := beginRetentionChange(t, by, "retentionPolicy.update", p.Tenant, p.Slug, p.Version); err != nil {
			return err
		}
		return t.Queue(updateRetentionPolicy, p.Tenant, p.Slug, p.Registry, p.DisplayName, p.Disabled, p.Enforced, body)
	})
}

// writeRetentionPolicy writes a policy and schedules its next run. It waits for the
// deletions of those before.
func (s *Records) writeRetentionPolicy(ctx context.Context, p meta.RetentionPolicy, write func(t Tx, body string) error) (meta.RetentionPolicy, error) {
	body, err := encodeRetention(p)
	if err != nil {
		return meta.RetentionPolicy{}, err
	}
	wait := time.Duration(0)
	if p.Enforced {
		wait = min(p.Interval, meta.RetentionDelay)
	}
	err = s.engine.Write(ctx, p.Tenant, func(t Tx) error {
		if err := write(t, body); err != nil {
			return err
		}
		if err := t.Queue(scheduleRetention, p.Tenant, p.Slug, !p.Disabled && p.Interval > 0, t.Interval(wait)); err != nil {
			return err
		}
		return t.Queue(endRetentionClaims, p.Tenant)
	})
	if err != nil {
		return meta.RetentionPolicy{}, err
	}
	return s.FindRetentionPolicy(ctx, p.Tenant, p.Slug)
}

// beginRetentionChange records the event of a change, and checks that the policy exists in
// the expected version.
func beginRetentionChange(t Tx, by meta.Cause, verb string, id tenant.ID, slug string, version int64) error {
	if err := beginAlone(t, by, id, verb, meta.RetentionPolicyTarget(slug)); err != nil {
		return err
	}
	var have int64
	found, err := t.Find(findRetentionVersion, []any{id, slug}, &have)
	switch {
	case err != nil:
		return err
	case !found:
		return noRetentionPolicy(slug)
	}
	return checkVersion(have, version)
}

// DeleteRetentionPolicy implements meta.RetentionPolicies.
func (s *Records) DeleteRetentionPolicy(ctx context.Context, by meta.Cause, id tenant.ID, slug string, version int64) error {
	return s.remove(ctx, by, id, func(t Tx) error {
		if err := beginRetentionChange(t, by, "retentionPolicy.delete", id, slug, version); err != nil {
			return err
		}
		if err := t.Queue(deleteRetentionPolicy, id, slug); err != nil {
			return err
		}
		return t.Queue(endRetentionClaims, id)
	})
}

// RunRetentionPolicy implements meta.RetentionPolicies.
func (s *Records) RunRetentionPolicy(ctx context.Context, by meta.Cause, id tenant.ID, slug string) (meta.RetentionPolicy, error) {
	err := s.engine.Write(ctx, id, func(t Tx) error {
		if err := beginRetentionChange(t, by, "retentionPolicy.start", id, slug, 0); err != nil {
			return err
		}
		var disabled bool
		if _, err := t.Find(isRetentionDisabled, []any{id, slug}, &disabled); err != nil {
			return err
		}
		if disabled {
			return fault.New(fault.Invalid, fault.RequestInvalid, "retention policy %q is disabled; enable it first", slug)
		}
		return t.Queue(runRetentionNow, id, slug)
	})
	if err != nil {
		return meta.RetentionPolicy{}, err
	}
	return s.FindRetentionPolicy(ctx, id, slug)
}

func noRetentionPolicy(slug string) error {
	return fault.New(fault.NotFound, fault.ResourceUnknown, "retention policy %q not found", slug)
}
