package sqlitemeta

import (
	"context"
	"database/sql"
	"math"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

const expiredManifests = `
SELECT tenant_id, repo_id, digest FROM manifests WHERE expire_at <= ?1 ORDER BY expire_at LIMIT ?2`

// ExpireCached implements meta.CacheCollector. A manifest may name thousands of
// blobs: limit bounds their rows, too.
func (s *Store) ExpireCached(ctx context.Context, limit int) (int, error) {
	work := 0
	err := s.step(ctx, deployment, func(t *tx) error {
		candidates, err := t.links(expiredManifests, t.now, limit)
		if err != nil {
			return err
		}
		e := expiry{tx: t, life: s.life, limit: limit}
		for _, l := range candidates {
			if e.full() {
				break
			}
			if err := e.expire(l); err != nil {
				return err
			}
		}
		work = e.manifests
		return nil
	})
	return work, err
}

// expiry is one call of ExpireCached.
type expiry struct {
	*tx
	life            meta.Lifetimes
	limit           int
	manifests, rows int // written so far
}

func (e *expiry) full() bool {
	return e.manifests >= e.limit || e.rows >= e.limit || e.manifests > 0 && e.spent()
}

const keepForGood = math.MaxInt64

// The indexes that list a manifest, and those that list them.
const listing = `
  WITH RECURSIVE up (digest) AS (
       SELECT c.parent FROM manifest_children c WHERE c.tenant_id = ?1 AND c.repo_id = ?2 AND c.child = ?3
       UNION
       SELECT c.parent FROM up CROSS JOIN manifest_children c ON c.tenant_id = ?1 AND c.repo_id = ?2 AND c.child = up.digest)`

const (
	// A hosted index without expiry keeps it for good: until keepForGood.
	keptByIndex = listing + `
SELECT max(coalesce(m.expire_at, 9223372036854775807))
  FROM up CROSS JOIN manifests m ON m.tenant_id = ?1 AND m.repo_id = ?2 AND m.digest = up.digest AND coalesce(m.expire_at > ?4, 1)`

	// An index that no other lists.
	topIndex = listing + `
SELECT ?1, ?2, up.digest FROM up
 WHERE NOT EXISTS (SELECT 1 FROM manifest_children c WHERE c.tenant_id = ?1 AND c.repo_id = ?2 AND c.child = up.digest) LIMIT 1`
)

// expire removes an expired manifest, after the indexes that list it. If one of
// them stays, the manifest is kept as long as that index.
func (e *expiry) expire(l link) error {
	var until sql.NullInt64
	if _, err := e.find(keptByIndex, []any{l.tenant, l.repo, l.digest.Bytes(), e.now}, &until); err != nil {
		return err
	}
	if until.Valid {
		until.Valid = until.Int64 != keepForGood // NULL has no expiry
		n, err := e.exec(prolongManifest, l.tenant, l.repo, l.digest.Bytes(), until)
		e.manifests += int(n)
		if err != nil || until.Valid {
			return err
		}
		return e.leaveTrash(l.tenant, l.repo, []oci.Digest{l.digest}) // it was restored with its index, and stays for good
	}
	for !e.full() {
		top, err := e.links(topIndex, l.tenant, l.repo, l.digest.Bytes())
		if err != nil {
			return err
		}
		top = append(top, l)
		r := removal{tenant: l.tenant, repo: l.repo, digest: top[0].digest}
		if large, err := e.beginRemoval(r); err != nil {
			return err
		} else if large {
			done, err := e.removeSome(r, e.life)
			e.manifests++
			if err != nil || !done || top[0] == l {
				return err // the next call does the rest
			}
			continue
		}
		rows, err := e.removeCached(l.tenant, l.repo, top[0].digest, e.life)
		if err != nil {
			return err
		}
		if rows > 0 {
			e.manifests++
			e.rows += int(rows)
		}
		if top[0] == l {
			return nil
		}
	}
	return nil
}
