-- What the audit log says more, and links that prove nothing.

-- +goose Up

ALTER TABLE events ADD COLUMN address TEXT NOT NULL DEFAULT '';   -- of the client; empty where it is not known
ALTER TABLE events ADD COLUMN changes TEXT NOT NULL DEFAULT '';   -- JSON of []meta.Change; empty for none
ALTER TABLE events ADD COLUMN times INTEGER NOT NULL DEFAULT 1;   -- how often it happened within its minute

-- The versions before linked a blob of the tenant into an upstream's cache once
-- the upstream said that it had it. What a cache shares with anything else of
-- the tenant may have come so: it is fetched again, and linked when it came.
CREATE TEMP TABLE unproven AS
SELECT rb.tenant_id, rb.repo_id, rb.digest
  FROM registries g
  JOIN repositories r ON r.tenant_id = g.tenant_id AND r.registry_id = g.id
  JOIN repo_blobs rb ON rb.tenant_id = r.tenant_id AND rb.repo_id = r.id
 WHERE g.upstream_id IS NOT NULL
   AND EXISTS (SELECT 1 FROM repo_blobs o JOIN repositories x ON x.tenant_id = o.tenant_id AND x.id = o.repo_id
                WHERE o.tenant_id = rb.tenant_id AND o.digest = rb.digest AND x.registry_id <> r.registry_id)
   AND NOT EXISTS (SELECT 1 FROM manifest_blobs m
                    WHERE m.tenant_id = rb.tenant_id AND m.held_repo_id = rb.repo_id AND m.digest = rb.digest);
DELETE FROM repo_blobs WHERE (tenant_id, repo_id, digest) IN (SELECT tenant_id, repo_id, digest FROM unproven);
UPDATE blobs SET keep_until = coalesce(keep_until, unixepoch() * 1000000)
 WHERE (tenant_id, digest) IN (SELECT tenant_id, digest FROM unproven);
DROP TABLE unproven;

-- The default tenant's registry goes on to be a mirror of what the first start
-- made it one of, as long as that is what is there.
WITH seeded (slug, url) AS (VALUES ('docker-hub', 'https://registry-1.docker.io'), ('ghcr', 'https://ghcr.io'), ('quay', 'https://quay.io'),
  ('kubernetes', 'https://registry.k8s.io'), ('gitlab', 'https://registry.gitlab.com'), ('microsoft', 'https://mcr.microsoft.com'),
  ('ecr-public', 'https://public.ecr.aws'))
UPDATE registries AS g SET settings = json_set(g.settings, '$.mirror_upstreams', (
         SELECT json_group_array(u.slug) FROM upstreams u JOIN seeded s ON s.slug = u.slug AND s.url = u.settings ->> 'url'
          WHERE u.tenant_id = g.tenant_id AND u.settings ->> 'username' IS NULL))
 WHERE g.slug = 'main' AND g.upstream_id IS NULL
   AND g.tenant_id IN (SELECT t.id FROM tenants t WHERE t.slug = 'default' AND t.state <> 'deleted')
   AND EXISTS (SELECT 1 FROM upstreams u JOIN seeded s ON s.slug = u.slug AND s.url = u.settings ->> 'url'
                WHERE u.tenant_id = g.tenant_id AND u.settings ->> 'username' IS NULL);
