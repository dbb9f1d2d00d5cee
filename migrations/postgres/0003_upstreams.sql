-- Upstreams, groups of them, and what was fetched. Cached content lives in the
-- repositories of an upstream's cache registry: a row of registries that has no
-- host and is in no list. When the upstream is configured anew, another cache
-- registry takes the place of the old one, which is being deleted from then on.

-- +goose Up

CREATE TABLE upstreams (
  tenant_id  bigint      NOT NULL REFERENCES tenants (id),
  id         bigint      GENERATED ALWAYS AS IDENTITY,
  slug       text COLLATE "C" NOT NULL,
  settings   json        NOT NULL,    -- of meta.UpstreamSettings; its password is sealed
  status     json        NOT NULL,    -- of meta.UpstreamStatus
  cache_id   bigint,                  -- its cache registry; NULL only while both are being made
  version    bigint      NOT NULL,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, id),
  CONSTRAINT upstreams_by_slug UNIQUE (tenant_id, slug),
  -- A node of the version before, which knows no upstreams, may purge a tenant.
  FOREIGN KEY (tenant_id, cache_id) REFERENCES registries (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX upstreams_by_cache ON upstreams (tenant_id, cache_id);
-- The few whose cache has a limit.
CREATE INDEX upstreams_limited ON upstreams (tenant_id, id) WHERE settings ->> 'max_bytes' IS NOT NULL;

CREATE TABLE upstream_groups (
  tenant_id  bigint      NOT NULL REFERENCES tenants (id),
  slug       text COLLATE "C" NOT NULL,
  members    json        NOT NULL,    -- of []meta.Member
  version    bigint      NOT NULL,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, slug)
);

CREATE TABLE cache_tags (         -- what an upstream said of a tag; goes with the manifest
  tenant_id  bigint      NOT NULL,
  repo_id    bigint      NOT NULL,
  name       text COLLATE "C" NOT NULL,
  manifest   bytea       NOT NULL,
  previous   bytea,               -- what the tag was before; it may be gone
  checked_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, repo_id, name),
  FOREIGN KEY (tenant_id, repo_id, manifest) REFERENCES manifests (tenant_id, repo_id, digest) ON DELETE CASCADE
);
CREATE INDEX cache_tags_by_manifest ON cache_tags (tenant_id, repo_id, manifest);

-- Which indexes name a manifest.
CREATE INDEX manifest_children_by_child ON manifest_children (tenant_id, repo_id, child);
-- Which manifests of a cache were pulled least recently.
CREATE INDEX manifests_cached ON manifests (tenant_id, repo_id, expire_at, digest) WHERE expire_at IS NOT NULL;

-- Statistics, as in the step before this one: an index that is made where there
-- are no rows takes back what was seen there. In a database in use the new tables
-- have none either. The slug is one that no tenant can have.

INSERT INTO tenants (id, slug, display_name, state, epoch, version, created_at, updated_at) OVERRIDING SYSTEM VALUE
VALUES (-1, 'statistics/1', '', 'active', 1, 1, now(), now());
INSERT INTO registries (tenant_id, id, slug, settings, state, version, created_at, updated_at) OVERRIDING SYSTEM VALUE
SELECT -1, -i, 'statistics/' || i, '{}', 'active', 1, now(), now() FROM generate_series(1, 200) i;
INSERT INTO upstreams (tenant_id, id, slug, settings, status, cache_id, version, created_at, updated_at) OVERRIDING SYSTEM VALUE
SELECT -1, id, slug, CASE WHEN id > -20 THEN '{"max_bytes": 1}' ELSE '{}' END::json, '{}', id, 1, now(), now() FROM registries WHERE tenant_id = -1;
INSERT INTO upstream_groups SELECT -1, 'statistics/' || i, '[]', 1, now(), now() FROM generate_series(1, 200) i;
INSERT INTO repositories (tenant_id, id, registry_id, name, state, created_at) OVERRIDING SYSTEM VALUE
SELECT -1, -1, -1, 'statistics', 'active', now();
INSERT INTO manifests (tenant_id, repo_id, digest, media_type, size, subject, artifact_type, annotations, expire_at, created_at, payload)
SELECT -1, -1, sha256(i::text::bytea), '', 1, CASE WHEN i % 2 = 0 THEN sha256((i + 1)::text::bytea) END, '', '{}',
       CASE WHEN i % 10 = 0 THEN now() END, now(), '' FROM generate_series(1, 200) i;
INSERT INTO manifest_children SELECT tenant_id, repo_id, digest, digest FROM manifests WHERE tenant_id = -1;
INSERT INTO cache_tags SELECT tenant_id, repo_id, encode(digest, 'hex'), digest, NULL, now() FROM manifests WHERE tenant_id = -1;

ANALYZE upstreams, upstream_groups, cache_tags, manifests, manifest_children;

-- This is what nodes at work wait for, so it comes late. A cached repository is
-- one of a cache registry: upstream_id and config_version of repositories stay
-- NULL, and stay, because the check of the version before reads one of them.

-- Set on cache registries, whose slug upstream/<id of the upstream>/<version of
-- it> no registry can have. No foreign key: it outlives the upstream until the
-- janitor has removed the content.
ALTER TABLE registries ADD COLUMN upstream_id bigint;
CREATE UNIQUE INDEX registries_by_upstream ON registries (tenant_id, upstream_id) WHERE upstream_id IS NOT NULL AND state = 'active';
UPDATE registries SET upstream_id = id WHERE tenant_id = -1 AND id > -20;
ANALYZE registries;

DELETE FROM manifests WHERE tenant_id = -1;
DELETE FROM repositories WHERE tenant_id = -1;
DELETE FROM upstream_groups WHERE tenant_id = -1;
DELETE FROM upstreams WHERE tenant_id = -1;
DELETE FROM registries WHERE tenant_id = -1;
DELETE FROM tenants WHERE id = -1;
