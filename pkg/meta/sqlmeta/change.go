package sqlmeta

import (
	"errors"
	"slices"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// ErrNoOperation is a mutation without an operation id.
var ErrNoOperation = errors.New("sqlmeta: a mutation needs an operation id")

// errNotValidated is a mutation that cannot be validated only.
var errNotValidated = errors.New("sqlmeta: only deletions can be validated alone")

// HasSink says whether a process sends events to a sink: what it is told of is marked
// in the event's own transaction, so that none is missed, in whatever order they commit.
const HasSink = `EXISTS (SELECT 1 FROM audit_sinks WHERE name = 'audit' AND until > berth_now())`

// HasWebhook says whether the tenant $1 has a webhook that is not disabled: its event is marked
// in its own transaction, for deliveries that are made of it later.
const HasWebhook = `EXISTS (SELECT 1 FROM webhooks WHERE webhooks.tenant_id = $1 AND NOT webhooks.disabled)`

const insertEvent = `
INSERT INTO events (tenant_id, op, at, actor, on_behalf, verb, target, request_id, address, user_agent, changes, pending, hooked)
VALUES ($1, $2, berth_now(), $3, $4, $5, $6, $7, $8, $9, $10, ` + HasSink + `, ` + HasWebhook + `)
ON CONFLICT (tenant_id, op) DO NOTHING`

// Event records a change of a tenant's resource. Call it right after the row that
// decides whether the change is possible was read, locked or made. ErrAlreadyDone
// means that an earlier attempt of this operation was committed: return it.
func Event(t Tx, by meta.Cause, id tenant.ID, verb, target string) error {
	if by.Op == uuid.Nil {
		return ErrNoOperation
	}
	if _, dry := t.(dryRun); dry != by.ValidateOnly {
		return errNotValidated
	}
	n, err := t.Exec(insertEvent, id, by.Op[:], by.Actor, by.OnBehalf, verb, target, by.RequestID, by.Address, by.UserAgent, meta.EncodeChanges(by.Changes))
	if err == nil && n == 0 {
		err = ErrAlreadyDone
	}
	return err
}

// SetEventChanges sets what the event of an operation says, where it was known only after
// the event.
const SetEventChanges = `UPDATE events SET changes = $3 WHERE tenant_id = $1 AND op = $2`

// addChanges adds to what the event of this transaction says.
func addChanges(t Tx, by meta.Cause, id tenant.ID, changes []meta.Change) error {
	if len(changes) == 0 {
		return nil
	}
	return t.Queue(SetEventChanges, id, by.Op[:], meta.EncodeChanges(slices.Concat(by.Changes, changes)))
}

// tenantEvent records a change of a tenant as a whole, which is in the log of the
// deployment as well.
func tenantEvent(t Tx, by meta.Cause, id tenant.ID, verb, target string) error {
	by.OnBehalf = ""
	if err := Event(t, by, id, verb, target); err != nil {
		return err
	}
	return Event(t, by, meta.Deployment, verb, target)
}

// FindEvent finds the event of an operation.
const FindEvent = `SELECT 1 FROM events WHERE tenant_id = $1 AND op = $2`

// AlreadyDone returns ErrAlreadyDone when an earlier attempt was committed. It is
// for operations that remove their resource.
func AlreadyDone(t Tx, by meta.Cause, id tenant.ID) error {
	var one int64
	found, err := t.Find(FindEvent, []any{id, by.Op[:]}, &one)
	if err == nil && found {
		err = ErrAlreadyDone
	}
	return err
}

const (
	tenantLives = `SELECT 1 FROM tenants WHERE id = $1 AND state IN ('active', 'suspended')`
	shareTenant = tenantLives + ` FOR KEY SHARE`
	lockTenant  = tenantLives + ` FOR NO KEY UPDATE`
)

// begin begins a change of a tenant's resource: it checks that the tenant exists
// and records the event.
func begin(t Tx, by meta.Cause, id tenant.ID, verb, target string) error {
	return beginWith(t, t.Pick(tenantLives, shareTenant), by, id, verb, target)
}

// beginAlone is begin for changes that must be serialized per tenant: of resources
// with a limit, and those that add names of registries, accounts, groups or upstreams,
// or delete one. The statements that follow see the effects of all earlier ones.
func beginAlone(t Tx, by meta.Cause, id tenant.ID, verb, target string) error {
	return beginWith(t, t.Pick(tenantLives, lockTenant), by, id, verb, target)
}

func beginWith(t Tx, lives string, by meta.Cause, id tenant.ID, verb, target string) error {
	var one int64
	found, err := t.Find(lives, []any{id}, &one)
	if err != nil {
		return err
	}
	if !found {
		return fault.New(fault.NotFound, fault.ResourceUnknown, "tenant not found")
	}
	return Event(t, by, id, verb, target)
}

// checkVersion compares the expected version with the present one; 0 accepts any.
func checkVersion(have, want int64) error {
	if want == 0 || want == have {
		return nil
	}
	return fault.New(fault.Conflict, fault.EtagMismatch, "the resource was modified; fetch it and retry").WithField("etag")
}

// checkSame refuses to change a resource that was deleted since it was read, where another one has
// its slug now, maybe in the same version.
func checkSame[ID comparable](have, read ID, deleted error) error {
	if have == read {
		return nil
	}
	return deleted
}

// change runs a statement that changes one row; missing is the error when it
// changes none.
func change(t Tx, missing error, query string, args ...any) error {
	n, err := t.Exec(query, args...)
	if err == nil && n == 0 {
		err = missing
	}
	return err
}

// The numbers of records, counted up to the last argument. Deleted records count
// until their row is removed.
const (
	countRegistries        = `SELECT count(*) FROM (SELECT 1 FROM registries WHERE tenant_id = $1 AND upstream_id IS NULL LIMIT $2) AS counted`
	countCaches            = `SELECT count(*) FROM (SELECT 1 FROM registries WHERE tenant_id = $1 AND upstream_id IS NOT NULL AND kept_for IS NULL LIMIT $2) AS counted`
	countAccounts          = `SELECT count(*) FROM (SELECT 1 FROM accounts WHERE tenant_id = $1 AND kind = $2 LIMIT $3) AS counted`
	countAccountKeys       = `SELECT count(*) FROM (SELECT 1 FROM account_keys WHERE tenant_id = $1 AND account_id = $2 LIMIT $3) AS counted`
	countPersonKeys        = `SELECT count(*) FROM (SELECT 1 FROM person_tokens WHERE provider_id = $1 AND subject = $2 LIMIT $3) AS counted`
	countTrusts            = `SELECT count(*) FROM (SELECT 1 FROM account_trusts WHERE tenant_id = $1 AND account_id = $2 LIMIT $3) AS counted`
	countAccessRules       = `SELECT count(*) FROM (SELECT 1 FROM access_rules WHERE tenant_id = $1 LIMIT $2) AS counted`
	countPullRules         = `SELECT count(*) FROM (SELECT 1 FROM pull_rules WHERE tenant_id = $1 LIMIT $2) AS counted`
	countWebhooks          = `SELECT count(*) FROM (SELECT 1 FROM webhooks WHERE tenant_id = $1 LIMIT $2) AS counted`
	countPromotionGates    = `SELECT count(*) FROM (SELECT 1 FROM promotion_gates WHERE tenant_id = $1 LIMIT $2) AS counted`
	countTagRules          = `SELECT count(*) FROM (SELECT 1 FROM tag_rules WHERE tenant_id = $1 LIMIT $2) AS counted`
	countPrefetches        = `SELECT count(*) FROM (SELECT 1 FROM prefetches WHERE tenant_id = $1 LIMIT $2) AS counted`
	countRetentionPolicies = `SELECT count(*) FROM (SELECT 1 FROM retention_policies WHERE tenant_id = $1 LIMIT $2) AS counted`
	countPrincipalGroups   = `SELECT count(*) FROM (SELECT 1 FROM principal_groups WHERE tenant_id = $1 LIMIT $2) AS counted`
	countProviders         = `SELECT count(*) FROM (SELECT 1 FROM identity_providers WHERE tenant_id = $1 LIMIT $2) AS counted`
	countDomains           = `SELECT count(*) FROM (SELECT 1 FROM domains WHERE tenant_id = $1 LIMIT $2) AS counted`
	countUpstreams         = `SELECT count(*) FROM (SELECT 1 FROM upstreams WHERE tenant_id = $1 LIMIT $2) AS counted`
	countMirrorHosts       = `SELECT count(*) FROM (SELECT 1 FROM mirror_hosts WHERE tenant_id = $1 LIMIT $2) AS counted`
	countGroups            = `SELECT count(*) FROM (SELECT 1 FROM upstream_groups WHERE tenant_id = $1 LIMIT $2) AS counted`
)

// checkLimit fails if this transaction has just exceeded the limit. The transaction
// has locked the row of the owner, so that the count includes all earlier records.
func checkLimit(t Tx, l meta.Limit, count string, args ...any) error {
	if l.Unlimited() {
		return nil
	}
	var n int
	if _, err := t.Find(count, append(args, l.Read()), &n); err != nil {
		return err
	}
	return l.Check(n)
}
