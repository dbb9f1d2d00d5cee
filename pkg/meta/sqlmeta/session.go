package sqlmeta

import (
	"context"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

const (
	sessionColumns = `
s.tenant_id, s.account_id, s.name, s.hash, s.key_name, s.user_agent, s.created_at, s.created_from, s.last_used_at, s.last_used_from, s.ends_at`

	listSessions = `
SELECT ` + sessionColumns + ` FROM sessions s WHERE s.tenant_id = $1 AND s.account_id = $2 AND s.ends_at > berth_now() ORDER BY s.name`

	// A key of the same name that was made later is another key.
	findAccountSession = `
SELECT ` + accountColumns + `, ` + sessionColumns + `
FROM sessions s
JOIN accounts a ON a.tenant_id = s.tenant_id AND a.id = s.account_id
JOIN tenants t ON t.id = a.tenant_id
WHERE s.hash = $1 AND s.ends_at > berth_now() AND NOT a.disabled AND t.state = 'active'
  AND (s.key_name = '' OR EXISTS (
    SELECT 1 FROM account_keys k WHERE k.tenant_id = s.tenant_id AND k.account_id = s.account_id AND k.name = s.key_name
      AND k.created_at <= s.created_at AND (k.expires_at IS NULL OR k.expires_at > berth_now())))`

	findOperatorSession = `
SELECT coalesce(o.slug, ''), ` + sessionColumns + `
FROM sessions s LEFT JOIN operators o ON o.id = s.account_id
WHERE s.hash = $1 AND s.tenant_id = 0 AND s.ends_at > berth_now()
  AND (s.account_id = 0 OR NOT o.disabled AND EXISTS (
    SELECT 1 FROM operator_tokens k WHERE k.operator_id = s.account_id AND k.name = s.key_name
      AND k.created_at <= s.created_at AND k.expires_at > berth_now()))`

	insertSession = `
INSERT INTO sessions (tenant_id, account_id, name, hash, key_name, user_agent, created_at, created_from, last_used_at, last_used_from, ends_at)
VALUES ($1, $2, $3, $4, $5, $6, berth_now(), $7, berth_now(), $7, berth_now() + CAST($8 AS interval))
ON CONFLICT (tenant_id, account_id, name) DO NOTHING`

	endOldSessions = `
DELETE FROM sessions WHERE tenant_id = $1 AND account_id = $2 AND name IN (
  SELECT o.name FROM sessions o WHERE o.tenant_id = $1 AND o.account_id = $2 ORDER BY o.last_used_at DESC, o.name LIMIT 1000 OFFSET $3)`

	useSession = `
UPDATE sessions SET last_used_at = berth_now(), last_used_from = $4,
       ends_at = CASE WHEN created_at + CAST($5 AS interval) < berth_now() + CAST($6 AS interval)
                      THEN created_at + CAST($5 AS interval) ELSE berth_now() + CAST($6 AS interval) END
WHERE tenant_id = $1 AND account_id = $2 AND name = $3 AND last_used_at <= berth_now() - CAST($7 AS interval)`

	deleteTenantSessions = `DELETE FROM sessions WHERE tenant_id = $1`
	deleteSessions       = deleteTenantSessions + ` AND account_id = $2`
	deleteSession        = deleteSessions + ` AND name = $3`
	deleteOtherSessions  = deleteSessions + ` AND name <> $3`
	deleteSessionsOfKey  = deleteSessions + ` AND key_name = $3`
	trimSessions         = `DELETE FROM sessions WHERE ends_at < berth_now()`
)

func sessionDest(s *meta.Session) []any {
	return []any{
		&s.Tenant, &s.Account, &s.Name,
		hashScanner{&s.Hash},
		&s.Key, &s.UserAgent,
		timeScanner{&s.CreatedAt},
		&s.CreatedFrom,
		timeScanner{&s.LastUsedAt},
		&s.LastUsedFrom,
		timeScanner{&s.EndsAt},
	}
}

// beginOwned records the event of a change of an owner's sessions.
func beginOwned(t Tx, by meta.Cause, o meta.SessionOwner, verb, target string) error {
	if o.Tenant == meta.Deployment {
		return Event(t, by, meta.Deployment, verb, target)
	}
	return begin(t, by, o.Tenant, verb, target)
}

// CreateSession implements meta.Sessions.
func (s *Records) CreateSession(ctx context.Context, by meta.Cause, m meta.Session, epoch int64) error {
	return s.engine.Write(ctx, m.Tenant, func(t Tx) error {
		if err := beginOwned(t, by, m.SessionOwner, "session.create", sessionTarget(m.SessionOwner, m.Name)); err != nil {
			return err
		}
		if m.Tenant != meta.Deployment {
			if err := checkEpoch(t, m.Tenant, m.Account, epoch); err != nil {
				return err
			}
		}
		if err := t.Queue(insertSession, m.Tenant, m.Account, m.Name, m.Hash[:], m.Key, m.UserAgent, m.CreatedFrom, t.Interval(meta.SessionIdle)); err != nil {
			return err
		}
		if err := t.Queue(wakePerson, m.Tenant, m.Account); err != nil { // no person has the ID of an operator's session
			return err
		}
		return t.Queue(endOldSessions, m.Tenant, m.Account, meta.MaxSessions)
	})
}

// loginBySession is a row of findAccountSession.
type loginBySession struct {
	login   meta.Login
	session meta.Session
}

// FindAccountSession implements meta.Sessions.
func (s *Records) FindAccountSession(ctx context.Context, hash [32]byte) (meta.Login, meta.Session, error) {
	found, err := find(ctx, s, noTenant, noSession(), func(scan Scan) (loginBySession, error) {
		var l loginBySession
		err := scan(append(accountDest(&l.login.Account), sessionDest(&l.session)...)...)
		l.login.Key = l.session.Key
		l.session.Actor = l.login.Principal().Name
		return l, err
	}, findAccountSession, hash[:])
	return found.login, found.session, err
}

// FindOperatorSession implements meta.Sessions.
func (s *Records) FindOperatorSession(ctx context.Context, hash [32]byte) (meta.Session, error) {
	return find(ctx, s, noTenant, noSession(), func(scan Scan) (meta.Session, error) {
		var m meta.Session
		var slug string
		err := scan(append([]any{&slug}, sessionDest(&m)...)...)
		if m.Actor = "operator"; slug != "" {
			m.Actor = meta.OperatorName(slug)
		}
		return m, err
	}, findOperatorSession, hash[:])
}

// UseSession implements meta.Sessions.
func (s *Records) UseSession(ctx context.Context, m meta.Session, address string) error {
	return s.engine.Write(ctx, m.Tenant, func(t Tx) error {
		return t.Queue(useSession, m.Tenant, m.Account, m.Name, address,
			t.Interval(meta.SessionLife), t.Interval(meta.SessionIdle), t.Interval(meta.SessionUse))
	})
}

// ListSessions implements meta.Sessions.
func (s *Records) ListSessions(ctx context.Context, o meta.SessionOwner) ([]meta.Session, error) {
	return list(ctx, s, o.Tenant, func(scan Scan) (meta.Session, error) {
		m := meta.Session{SessionOwner: o}
		err := scan(sessionDest(&m)...)
		return m, err
	}, listSessions, o.Tenant, o.Account)
}

// DeleteSession implements meta.Sessions.
func (s *Records) DeleteSession(ctx context.Context, by meta.Cause, o meta.SessionOwner, name string) error {
	return s.engine.Write(ctx, o.Tenant, func(t Tx) error {
		if err := beginOwned(t, by, o, "session.delete", sessionTarget(o, name)); err != nil {
			return err
		}
		return change(t, noSession(), deleteSession, o.Tenant, o.Account, name)
	})
}

// DeleteSessions implements meta.Sessions.
func (s *Records) DeleteSessions(ctx context.Context, by meta.Cause, o meta.SessionOwner) error {
	return s.engine.Write(ctx, o.Tenant, func(t Tx) error {
		n, err := t.Exec(deleteSessions, o.Tenant, o.Account)
		if err != nil || n == 0 {
			return err // an event of nothing would fill the log
		}
		return beginOwned(t, by, o, "session.delete", sessionTarget(o, "-"))
	})
}

// endSessions ends the sessions that a change of an account leaves no room for.
func endSessions(t Tx, by meta.Cause, a meta.Account, r accountRow) error {
	switch {
	case a.Disabled:
		return t.Queue(deleteSessions, a.Tenant, r.id)
	case a.Password != r.password:
		return t.Queue(deleteOtherSessions, a.Tenant, r.id, by.Session)
	default:
		return nil
	}
}

// checkEpoch locks an account, and fails if it changed since it had this epoch.
func checkEpoch(t Tx, id tenant.ID, account, epoch int64) error {
	var have int64
	found, err := t.Find(t.Pick(findAccountEpoch, lockAccountEpoch), []any{id, account}, &have)
	if err == nil && (!found || have != epoch) {
		err = fault.New(fault.NotFound, fault.ResourceUnknown, "the account was modified or deleted")
	}
	return err
}

func sessionTarget(o meta.SessionOwner, name string) string { return o.Actor + "/sessions/" + name }

func noSession() error {
	return fault.New(fault.NotFound, fault.ResourceUnknown, "session not found")
}
