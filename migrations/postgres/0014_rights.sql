-- Links that prove nothing, and what the audit log says more.

-- +goose Up

-- The versions before linked a blob of the tenant into an upstream's cache once
-- the upstream said that it had it. What a cache shares with anything else of
-- the tenant may have come so: it is fetched again, and linked when it came.
WITH unproven AS (
  DELETE FROM repo_blobs rb
   USING registries g, repositories r
   WHERE g.upstream_id IS NOT NULL
     AND r.tenant_id = g.tenant_id AND r.registry_id = g.id
     AND rb.tenant_id = r.tenant_id AND rb.repo_id = r.id
     AND EXISTS (SELECT 1 FROM repo_blobs o JOIN repositories x ON x.tenant_id = o.tenant_id AND x.id = o.repo_id
                  WHERE o.tenant_id = rb.tenant_id AND o.digest = rb.digest AND x.registry_id <> r.registry_id)
     AND NOT EXISTS (SELECT 1 FROM manifest_blobs m
                      WHERE m.tenant_id = rb.tenant_id AND m.held_repo_id = rb.repo_id AND m.digest = rb.digest)
  RETURNING rb.tenant_id, rb.digest)
UPDATE blobs b SET keep_until = coalesce(b.keep_until, berth_now())
  FROM (SELECT DISTINCT tenant_id, digest FROM unproven) gone
 WHERE b.tenant_id = gone.tenant_id AND b.digest = gone.digest;

-- Last, since it keeps all others from the table until the end of this step.
ALTER TABLE events
  ADD COLUMN address text NOT NULL DEFAULT '',   -- of the client; empty where it is not known
  ADD COLUMN changes text NOT NULL DEFAULT '',   -- JSON of []meta.Change; empty for none
  ADD COLUMN times bigint NOT NULL DEFAULT 1;    -- how often it happened within its minute
