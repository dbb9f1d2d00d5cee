-- Upstreams, groups of members, and what was fetched from upstreams. Cached
-- content lies in repositories of cache registries, which are hidden rows of
-- registries; so repositories.upstream_id and config_version stay NULL for ever.
-- They are not dropped: CHECKs name them, and to make the table anew means to
-- switch off the foreign keys that point to it.

-- +goose Up

-- Set on cache registries, whose slug upstream/<id of the upstream>/<version of
-- it> no registry can have. No foreign key: it outlives the upstream until the
-- janitor has removed the content.
ALTER TABLE registries ADD COLUMN upstream_id INTEGER;
CREATE UNIQUE INDEX registries_by_upstream ON registries (tenant_id, upstream_id) WHERE upstream_id IS NOT NULL AND state = 'active';

CREATE TABLE upstreams (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  tenant_id  INTEGER NOT NULL REFERENCES tenants (id),
  slug       TEXT    NOT NULL,
  settings   TEXT    NOT NULL,    -- JSON of meta.UpstreamSettings
  status     TEXT    NOT NULL,    -- JSON of meta.UpstreamStatus
  cache_id   INTEGER,             -- its cache registry; NULL only while both are being made
  version    INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  UNIQUE (tenant_id, id),
  UNIQUE (tenant_id, slug),
  FOREIGN KEY (tenant_id, cache_id) REFERENCES registries (tenant_id, id)
) STRICT;
CREATE INDEX upstreams_by_cache ON upstreams (tenant_id, cache_id);
CREATE INDEX upstreams_limited ON upstreams (tenant_id, id) WHERE settings ->> 'max_bytes' IS NOT NULL;

CREATE TABLE upstream_groups (
  tenant_id  INTEGER NOT NULL REFERENCES tenants (id),
  slug       TEXT    NOT NULL,
  members    TEXT    NOT NULL,    -- JSON of []meta.Member
  version    INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  PRIMARY KEY (tenant_id, slug)
) STRICT, WITHOUT ROWID;

CREATE TABLE cache_tags (         -- tags of cached repositories: no history, no events
  tenant_id  INTEGER NOT NULL,
  repo_id    INTEGER NOT NULL,
  name       TEXT    NOT NULL,
  manifest   BLOB    NOT NULL,
  previous   BLOB,                -- what it pointed to before, whether that is kept or not
  checked_at INTEGER NOT NULL,    -- when the upstream confirmed it last
  PRIMARY KEY (tenant_id, repo_id, name),
  FOREIGN KEY (tenant_id, repo_id, manifest) REFERENCES manifests (tenant_id, repo_id, digest) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX cache_tags_by_manifest ON cache_tags (tenant_id, repo_id, manifest);

CREATE INDEX manifests_cached ON manifests (tenant_id, repo_id, expire_at, digest) WHERE expire_at IS NOT NULL;
CREATE INDEX manifest_children_by_child ON manifest_children (tenant_id, repo_id, child);

-- As in 0002. manifests_expiring now stands for the caches of many tenants.
DELETE FROM sqlite_stat1 WHERE idx = 'manifests_expiring';
INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
  ('registries', 'registries_by_upstream', '2000 2 1'),
  ('upstreams', 'sqlite_autoindex_upstreams_1', '2000 2 1'),
  ('upstreams', 'sqlite_autoindex_upstreams_2', '2000 2 1'),
  ('upstreams', 'upstreams_by_cache', '2000 2 1'),
  ('upstreams', 'upstreams_limited', '100 1 1'),
  ('upstream_groups', 'upstream_groups', '2000 2 1'),
  ('cache_tags', 'cache_tags', '1000000 1000 50 1'),
  ('cache_tags', 'cache_tags_by_manifest', '1000000 1000 50 2'),
  ('manifests', 'manifests_expiring', '1000000 1'),
  ('manifests', 'manifests_cached', '1000000 1000 50 1 1'),
  ('manifest_children', 'manifest_children_by_child', '3000000 3000 1000 2');
ANALYZE sqlite_schema;
