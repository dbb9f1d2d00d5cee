package sqlmeta

import (
	"context"
	"encoding/hex"
	"encoding/json"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

const (
	beginAccounting = `
INSERT INTO pull_accounting (one, since) VALUES (1, berth_now() + CAST($1 AS interval)) ON CONFLICT (one) DO NOTHING`
	beginRecorder = `
INSERT INTO pull_recorders (id, number, known_at, seen_at) VALUES ($1, 0, berth_now(), berth_now()) ON CONFLICT (id) DO NOTHING`

	// A recorder that was ended as lost is there again, with nothing known before the next whole batch.
	recordBatch = `
INSERT INTO pull_recorders AS k (id, number, known_at, seen_at) VALUES ($1, $2, berth_now() - CAST($4 AS interval), berth_now())
ON CONFLICT (id) DO UPDATE SET number = excluded.number,
       known_at = CASE WHEN $3 THEN k.seen_at ELSE k.known_at END, seen_at = CASE WHEN $3 THEN excluded.seen_at ELSE k.seen_at END
 WHERE k.number < excluded.number`

	endRecorder      = `DELETE FROM pull_recorders WHERE id = $1`
	endLostRecorders = `DELETE FROM pull_recorders WHERE seen_at < berth_now() - CAST($1 AS interval)`
	restartPulls     = `UPDATE pull_accounting SET since = berth_now() WHERE one = 1 AND since < berth_now()`
	// A database whose generation is lower was restored: what was pulled since is unknown.
	restartPullsBehind = `
UPDATE pull_accounting SET since = berth_now() WHERE one = 1 AND since < berth_now() AND (SELECT d.generation FROM deployment d WHERE d.one = 1) < $1`

	findPullAccounting = `
SELECT since, coalesce((SELECT min(known_at) FROM pull_recorders), berth_now()) FROM pull_accounting WHERE one = 1`

	// A repository may have been deleted since, and be restored. A tag that is locked is being
	// deleted by a transaction that may hold its manifest.
	recordTagPullsPostgres = `
WITH pulled AS MATERIALIZED (
  SELECT r.tenant_id, r.id AS repo_id, u.tag, CAST(sum(u.times) AS bigint) AS times
    FROM json_to_recordset(CAST($1 AS json)) AS u (tenant bigint, registry bigint, name text, tag text, times bigint)
   CROSS JOIN LATERAL (
          SELECT a.tenant_id, a.id FROM repositories a WHERE a.tenant_id = u.tenant AND a.registry_id = u.registry AND a.name = u.name AND a.state = 'active'
           UNION ALL
          SELECT d.tenant_id, d.id FROM repositories d WHERE d.tenant_id = u.tenant AND d.registry_id = u.registry AND d.name = u.name AND d.state = 'deleted') AS r
   GROUP BY r.tenant_id, r.id, u.tag ORDER BY r.tenant_id, r.id, u.tag COLLATE "C"
), there AS MATERIALIZED (
  SELECT g.tenant_id, g.repo_id, g.name, pulled.times
    FROM pulled
   CROSS JOIN LATERAL (
          SELECT t.tenant_id, t.repo_id, t.name FROM tags t
           WHERE t.tenant_id = pulled.tenant_id AND t.repo_id = pulled.repo_id AND t.name = pulled.tag AND t.manifest IS NOT NULL OFFSET 0
             FOR KEY SHARE SKIP LOCKED) AS g
)
INSERT INTO tag_pulls AS k (tenant_id, repo_id, name, pulled_at, pulls)
SELECT tenant_id, repo_id, name, berth_now(), times FROM there
ON CONFLICT (tenant_id, repo_id, name) DO UPDATE SET pulled_at = excluded.pulled_at, pulls = k.pulls + excluded.pulls`

	recordManifestPullsPostgres = `
WITH pulled AS MATERIALIZED (
  SELECT r.tenant_id, r.id AS repo_id, decode(u.digest, 'hex') AS digest, CAST(sum(u.times) AS bigint) AS times
    FROM json_to_recordset(CAST($1 AS json)) AS u (tenant bigint, registry bigint, name text, digest text, times bigint)
   CROSS JOIN LATERAL (
          SELECT a.tenant_id, a.id FROM repositories a WHERE a.tenant_id = u.tenant AND a.registry_id = u.registry AND a.name = u.name AND a.state = 'active'
           UNION ALL
          SELECT d.tenant_id, d.id FROM repositories d WHERE d.tenant_id = u.tenant AND d.registry_id = u.registry AND d.name = u.name AND d.state = 'deleted') AS r
   GROUP BY r.tenant_id, r.id, u.digest ORDER BY r.tenant_id, r.id, decode(u.digest, 'hex')
), there AS MATERIALIZED (
  SELECT m.tenant_id, m.repo_id, m.digest, pulled.times
    FROM pulled
   CROSS JOIN LATERAL (
          SELECT n.tenant_id, n.repo_id, n.digest FROM manifests n
           WHERE n.tenant_id = pulled.tenant_id AND n.repo_id = pulled.repo_id AND n.digest = pulled.digest OFFSET 0
             FOR KEY SHARE) AS m
)
INSERT INTO manifest_pulls AS k (tenant_id, repo_id, digest, pulled_at, pulls)
SELECT tenant_id, repo_id, digest, berth_now(), times FROM there
ON CONFLICT (tenant_id, repo_id, digest) DO UPDATE SET pulled_at = excluded.pulled_at, pulls = k.pulls + excluded.pulls`

	recordTagPullsSQLite = `
INSERT INTO tag_pulls AS k (tenant_id, repo_id, name, pulled_at, pulls)
SELECT t.tenant_id, t.repo_id, t.name, berth_now(), j.value ->> 'times'
  FROM json_each($1) j
 CROSS JOIN repositories r ON r.tenant_id = j.value ->> 'tenant' AND r.registry_id = j.value ->> 'registry' AND r.name = j.value ->> 'name' AND r.state <> 'deleting'
 CROSS JOIN tags t ON t.tenant_id = r.tenant_id AND t.repo_id = r.id AND t.name = j.value ->> 'tag' AND t.manifest IS NOT NULL
 WHERE TRUE
ON CONFLICT (tenant_id, repo_id, name) DO UPDATE SET pulled_at = excluded.pulled_at, pulls = k.pulls + excluded.pulls`

	recordManifestPullsSQLite = `
INSERT INTO manifest_pulls AS k (tenant_id, repo_id, digest, pulled_at, pulls)
SELECT m.tenant_id, m.repo_id, m.digest, berth_now(), j.value ->> 'times'
  FROM json_each($1) j
 CROSS JOIN repositories r ON r.tenant_id = j.value ->> 'tenant' AND r.registry_id = j.value ->> 'registry' AND r.name = j.value ->> 'name' AND r.state <> 'deleting'
 CROSS JOIN manifests m ON m.tenant_id = r.tenant_id AND m.repo_id = r.id AND m.digest = unhex(j.value ->> 'digest')
 WHERE TRUE
ON CONFLICT (tenant_id, repo_id, digest) DO UPDATE SET pulled_at = excluded.pulled_at, pulls = k.pulls + excluded.pulls`
)

// hostedPull is a meta.HostedPull as the statements read it.
type hostedPull struct {
	Tenant   tenant.ID         `json:"tenant"`
	Registry tenant.RegistryID `json:"registry"`
	Name     string            `json:"name"`
	Digest   string            `json:"digest"`
	Tag      string            `json:"tag"`
	Times    int64             `json:"times"`
}

// BeginPulls implements meta.HostedPulls.
func (s *Records) BeginPulls(ctx context.Context, recorder uuid.UUID) error {
	return s.engine.Write(ctx, noTenant, func(t Tx) error {
		if err := t.Queue(beginAccounting, t.Interval(meta.PullsBegin)); err != nil {
			return err
		}
		return t.Queue(beginRecorder, recorder[:])
	})
}

// RecordHostedPulls implements meta.HostedPulls. Tags come last, and are not waited for: a
// deletion that waits for this transaction to let go of a tag holds its manifest.
func (s *Records) RecordHostedPulls(ctx context.Context, b meta.PullBatch) error {
	var ofTags, ofManifests []hostedPull
	for _, p := range b.Pulls {
		row := hostedPull{p.Repo.Tenant, p.Repo.Registry, p.Repo.Name, hex.EncodeToString(p.Digest.Bytes()), p.Tag, p.Times}
		ofManifests = append(ofManifests, row)
		if p.Tag != "" {
			ofTags = append(ofTags, row)
		}
	}
	return s.engine.Write(ctx, noTenant, func(t Tx) error {
		n, err := t.Exec(recordBatch, b.Recorder[:], b.Number, b.Whole, t.Interval(meta.RecorderLost))
		if err != nil {
			return err
		}
		if n == 0 {
			return ErrAlreadyDone
		}
		if b.Lost {
			if err := t.Queue(restartPulls); err != nil {
				return err
			}
		}
		if err := queuePulls(t, ofManifests, t.Pick(recordManifestPullsSQLite, recordManifestPullsPostgres)); err != nil {
			return err
		}
		return queuePulls(t, ofTags, t.Pick(recordTagPullsSQLite, recordTagPullsPostgres))
	})
}

func queuePulls(t Tx, rows []hostedPull, statement string) error {
	if len(rows) == 0 {
		return nil
	}
	body, err := json.Marshal(rows)
	if err != nil {
		return err
	}
	return t.Queue(statement, string(body))
}

// EndPulls implements meta.HostedPulls.
func (s *Records) EndPulls(ctx context.Context, recorder uuid.UUID) error {
	return s.engine.Write(ctx, noTenant, func(t Tx) error { return t.Queue(endRecorder, recorder[:]) })
}

// EndLostRecorders implements meta.HostedPulls.
func (s *Records) EndLostRecorders(ctx context.Context, _ int) (int, error) {
	var ended int64
	err := s.engine.Write(ctx, noTenant, func(t Tx) error {
		var err error
		if ended, err = t.Exec(endLostRecorders, t.Interval(meta.RecorderLost)); err != nil || ended == 0 {
			return err
		}
		return t.Queue(restartPulls)
	})
	return int(ended), err
}

// FindPullAccounting implements meta.HostedPulls.
func (s *Records) FindPullAccounting(ctx context.Context) (meta.PullAccounting, error) {
	found, err := list(ctx, s, noTenant, func(scan Scan) (meta.PullAccounting, error) {
		var a meta.PullAccounting
		err := scan(timeScanner{&a.Since}, timeScanner{&a.KnownAt})
		return a, err
	}, findPullAccounting)
	if err != nil || len(found) == 0 {
		return meta.PullAccounting{}, err
	}
	return found[0], nil
}
