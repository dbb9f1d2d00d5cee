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

-- The default tenant's registry goes on to be a mirror of what the first start
-- made it one of, as long as that is what is there.
WITH seeded (slug, url) AS (VALUES ('docker-hub', 'https://registry-1.docker.io'), ('ghcr', 'https://ghcr.io'), ('quay', 'https://quay.io'),
  ('kubernetes', 'https://registry.k8s.io'), ('gitlab', 'https://registry.gitlab.com'), ('microsoft', 'https://mcr.microsoft.com'),
  ('ecr-public', 'https://public.ecr.aws')),
there AS (
  SELECT u.tenant_id, json_agg(u.slug) AS slugs
    FROM tenants t
    JOIN upstreams u ON u.tenant_id = t.id AND u.settings ->> 'username' IS NULL
    JOIN seeded s ON s.slug = u.slug AND s.url = u.settings ->> 'url'
   WHERE t.slug = 'default' AND t.state <> 'deleted'
   GROUP BY u.tenant_id)
UPDATE registries g SET settings = (g.settings::jsonb || jsonb_build_object('mirror_upstreams', there.slugs))::json
  FROM there
 WHERE g.tenant_id = there.tenant_id AND g.slug = 'main' AND g.upstream_id IS NULL;

-- Last, since it keeps all others from the table until the end of this step.
ALTER TABLE events
  ADD COLUMN address text NOT NULL DEFAULT '',   -- of the client; empty where it is not known
  ADD COLUMN changes text NOT NULL DEFAULT '',   -- JSON of []meta.Change; empty for none
  ADD COLUMN times bigint NOT NULL DEFAULT 1;    -- how often it happened within its minute
