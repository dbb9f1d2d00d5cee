-- Times are microseconds since 1970 UTC, uuids are 16 bytes, digests are one
-- byte for the algorithm and the sum (oci.Digest.Bytes). Every foreign and
-- unique key of tenant data starts with tenant_id; ids are AUTOINCREMENT so
-- that none is ever used again.

-- +goose Up

-- Tenants, registries and the hosts that lead to them --------------------

CREATE TABLE tenants (            -- a deleted tenant keeps its row as a tombstone
  id           INTEGER PRIMARY KEY AUTOINCREMENT,
  slug         TEXT    NOT NULL,
  display_name TEXT    NOT NULL,
  state        TEXT    NOT NULL CHECK (state IN ('active', 'suspended', 'deleting', 'deleted')),
  epoch        INTEGER NOT NULL,  -- grows when all tokens must die
  version      INTEGER NOT NULL,
  created_at   INTEGER NOT NULL,
  updated_at   INTEGER NOT NULL,
  deleted_at   INTEGER            -- when it was marked deleting: the quarantine of its slug starts
) STRICT;
CREATE UNIQUE INDEX tenants_by_slug ON tenants (slug) WHERE state <> 'deleted';
CREATE INDEX tenants_tombstones ON tenants (slug, deleted_at) WHERE state = 'deleted';
CREATE INDEX tenants_deleting ON tenants (id) WHERE state = 'deleting';

CREATE TABLE usage (
  tenant_id INTEGER PRIMARY KEY REFERENCES tenants (id),
  used      INTEGER NOT NULL CHECK (used >= 0),
  lim       INTEGER NOT NULL CHECK (lim >= 0)  -- 0 = none
) STRICT;

CREATE TABLE registries (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  tenant_id  INTEGER NOT NULL REFERENCES tenants (id),
  slug       TEXT    NOT NULL,
  settings   TEXT    NOT NULL,    -- JSON of tenant.Settings
  state      TEXT    NOT NULL CHECK (state IN ('active', 'deleting')),
  version    INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  UNIQUE (tenant_id, id),
  UNIQUE (tenant_id, slug)
) STRICT;
CREATE INDEX registries_deleting ON registries (id) WHERE state = 'deleting';

CREATE TABLE domains (
  tenant_id   INTEGER NOT NULL,
  host        TEXT    NOT NULL,
  registry_id INTEGER NOT NULL,
  verified    INTEGER NOT NULL CHECK (verified IN (0, 1)),
  challenge   TEXT    NOT NULL,
  version     INTEGER NOT NULL,
  created_at  INTEGER NOT NULL,
  PRIMARY KEY (tenant_id, host),
  FOREIGN KEY (tenant_id, registry_id) REFERENCES registries (tenant_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
-- Who a host leads to is decided between tenants, so this key names none.
CREATE UNIQUE INDEX domains_routing ON domains (host) WHERE verified = 1;
CREATE INDEX domains_by_registry ON domains (tenant_id, registry_id);

-- Accounts, keys and the audit log ---------------------------------------

CREATE TABLE accounts (
  id           INTEGER PRIMARY KEY AUTOINCREMENT,
  tenant_id    INTEGER NOT NULL REFERENCES tenants (id),
  slug         TEXT    NOT NULL,
  display_name TEXT    NOT NULL,
  role         TEXT    NOT NULL,
  disabled     INTEGER NOT NULL CHECK (disabled IN (0, 1)),
  version      INTEGER NOT NULL,
  created_at   INTEGER NOT NULL,
  updated_at   INTEGER NOT NULL,
  UNIQUE (tenant_id, id),
  UNIQUE (tenant_id, slug)
) STRICT;

CREATE TABLE account_keys (
  tenant_id  INTEGER NOT NULL,
  account_id INTEGER NOT NULL,
  name       TEXT    NOT NULL,
  hash       BLOB    NOT NULL CHECK (length(hash) = 32),  -- SHA-256 of the secret
  created_at INTEGER NOT NULL,
  expires_at INTEGER,                                     -- NULL = never
  PRIMARY KEY (tenant_id, account_id, name),
  FOREIGN KEY (tenant_id, account_id) REFERENCES accounts (tenant_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX account_keys_by_hash ON account_keys (hash);

CREATE TABLE signing_keys (       -- of the deployment, not of a tenant
  id         TEXT    PRIMARY KEY,
  algorithm  TEXT    NOT NULL,
  private    BLOB    NOT NULL,
  created_at INTEGER NOT NULL,
  retired_at INTEGER              -- NULL = signs
) STRICT, WITHOUT ROWID;

CREATE TABLE events (             -- one row per mutation; op makes a retried request take effect once
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  tenant_id  INTEGER NOT NULL,
  op         BLOB    NOT NULL CHECK (length(op) = 16),
  at         INTEGER NOT NULL,
  actor      TEXT    NOT NULL,
  verb       TEXT    NOT NULL,
  target     TEXT    NOT NULL,
  request_id TEXT    NOT NULL,
  UNIQUE (tenant_id, op),
  UNIQUE (tenant_id, id)
) STRICT;

-- Bytes -------------------------------------------------------------------

CREATE TABLE objects (            -- one row per physical object, written BEFORE the first byte
  tenant_id    INTEGER NOT NULL,
  incarnation  BLOB    NOT NULL CHECK (length(incarnation) = 16),
  state        TEXT    NOT NULL CHECK (state IN ('S', 'L', 'D')),  -- staged, live, condemned
  size         INTEGER NOT NULL DEFAULT 0 CHECK (size >= 0),
  multipart_id TEXT    NOT NULL DEFAULT '',
  created_at   INTEGER NOT NULL,
  delete_after INTEGER,           -- set when condemned
  next_try     INTEGER,           -- a deletion is under way until then
  PRIMARY KEY (tenant_id, incarnation),
  UNIQUE (tenant_id, incarnation, state),
  CHECK ((state = 'D') = (delete_after IS NOT NULL))
) STRICT, WITHOUT ROWID;
-- When a condemned object is due, so that those being tried do not stand in front of the others.
CREATE INDEX objects_due ON objects (max(delete_after, coalesce(next_try, 0))) WHERE state = 'D';
CREATE INDEX objects_staged ON objects (created_at) WHERE state = 'S';

-- +goose StatementBegin
CREATE TRIGGER objects_condemned_is_final BEFORE UPDATE OF state ON objects
WHEN OLD.state = 'D' AND NEW.state <> 'D'
BEGIN
  SELECT RAISE(ABORT, 'a condemned object stays condemned');
END;
-- +goose StatementEnd

CREATE TABLE blobs (              -- the distinct content of a tenant
  tenant_id   INTEGER NOT NULL,
  digest      BLOB    NOT NULL,
  size        INTEGER NOT NULL CHECK (size >= 0),
  incarnation BLOB    NOT NULL,
  ostate      TEXT    NOT NULL DEFAULT 'L' CHECK (ostate = 'L'),
  keep_until  INTEGER,            -- NULL = no candidate for collection
  suspect     INTEGER NOT NULL DEFAULT 0 CHECK (suspect IN (0, 1)),
  PRIMARY KEY (tenant_id, digest),
  -- The database refuses to condemn a live object.
  FOREIGN KEY (tenant_id, incarnation, ostate) REFERENCES objects (tenant_id, incarnation, state)
) STRICT, WITHOUT ROWID;
CREATE INDEX blobs_by_object ON blobs (tenant_id, incarnation, ostate);
CREATE INDEX blobs_candidates ON blobs (keep_until) WHERE keep_until IS NOT NULL;

-- Repositories and their content -----------------------------------------

CREATE TABLE repositories (       -- hosted ones have a registry, cached ones an upstream
  id             INTEGER PRIMARY KEY AUTOINCREMENT,
  tenant_id      INTEGER NOT NULL,
  registry_id    INTEGER,
  upstream_id    INTEGER,
  config_version INTEGER,
  name           TEXT    NOT NULL,
  state          TEXT    NOT NULL CHECK (state IN ('active', 'deleting')),
  listed         INTEGER NOT NULL DEFAULT 0 CHECK (listed IN (0, 1)),  -- holds a manifest
  created_at     INTEGER NOT NULL,
  UNIQUE (tenant_id, id),
  CHECK ((registry_id IS NULL) <> (upstream_id IS NULL)),
  CHECK ((upstream_id IS NULL) = (config_version IS NULL)),
  FOREIGN KEY (tenant_id, registry_id) REFERENCES registries (tenant_id, id)
) STRICT;
-- A name is free again as soon as its repository is being deleted: what is
-- pushed to it then is another repository, with another id.
CREATE UNIQUE INDEX repositories_by_name ON repositories (tenant_id, registry_id, name) WHERE state = 'active';
CREATE INDEX repositories_listed ON repositories (tenant_id, registry_id, name) WHERE state = 'active' AND listed = 1;
CREATE INDEX repositories_by_registry ON repositories (tenant_id, registry_id);
CREATE INDEX repositories_deleting ON repositories (id) WHERE state = 'deleting';

CREATE TABLE name_claims (        -- names that ever held a manifest; they survive deletes
  tenant_id   INTEGER NOT NULL,
  registry_id INTEGER NOT NULL,
  name        TEXT    NOT NULL,
  since       INTEGER NOT NULL,
  PRIMARY KEY (tenant_id, registry_id, name),
  FOREIGN KEY (tenant_id, registry_id) REFERENCES registries (tenant_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE TABLE repo_blobs (         -- which blobs a repository holds
  tenant_id  INTEGER NOT NULL,
  repo_id    INTEGER NOT NULL,
  digest     BLOB    NOT NULL,
  keep_until INTEGER,             -- NULL = no candidate for collection
  PRIMARY KEY (tenant_id, repo_id, digest),
  FOREIGN KEY (tenant_id, repo_id) REFERENCES repositories (tenant_id, id),
  FOREIGN KEY (tenant_id, digest) REFERENCES blobs (tenant_id, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX repo_blobs_candidates ON repo_blobs (keep_until) WHERE keep_until IS NOT NULL;
CREATE INDEX repo_blobs_by_blob ON repo_blobs (tenant_id, digest);

CREATE TABLE manifests (          -- the payload is last: lists read the columns before it
  tenant_id     INTEGER NOT NULL,
  repo_id       INTEGER NOT NULL,
  digest        BLOB    NOT NULL,
  media_type    TEXT    NOT NULL,
  size          INTEGER NOT NULL,
  subject       BLOB,
  artifact_type TEXT    NOT NULL,
  annotations   TEXT    NOT NULL, -- JSON object
  expire_at     INTEGER,          -- cached content only; NULL = hosted, never collected
  created_at    INTEGER NOT NULL,
  payload       BLOB    NOT NULL,
  PRIMARY KEY (tenant_id, repo_id, digest),
  FOREIGN KEY (tenant_id, repo_id) REFERENCES repositories (tenant_id, id)
) STRICT;
CREATE INDEX manifests_referrers ON manifests (tenant_id, repo_id, subject, digest) WHERE subject IS NOT NULL;
CREATE INDEX manifests_referrers_by_type ON manifests (tenant_id, repo_id, subject, artifact_type, digest) WHERE subject IS NOT NULL;
CREATE INDEX manifests_expiring ON manifests (expire_at) WHERE expire_at IS NOT NULL;

CREATE TABLE manifest_blobs (
  tenant_id    INTEGER NOT NULL,
  repo_id      INTEGER NOT NULL,
  manifest     BLOB    NOT NULL,
  digest       BLOB    NOT NULL,
  held_repo_id INTEGER CHECK (held_repo_id = repo_id),  -- NULL: referenced but not held (foreign layer, sparse, cached)
  PRIMARY KEY (tenant_id, repo_id, manifest, digest),
  FOREIGN KEY (tenant_id, repo_id, manifest) REFERENCES manifests (tenant_id, repo_id, digest) ON DELETE CASCADE,
  FOREIGN KEY (tenant_id, held_repo_id, digest) REFERENCES repo_blobs (tenant_id, repo_id, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX manifest_blobs_by_blob ON manifest_blobs (tenant_id, repo_id, digest);
CREATE INDEX manifest_blobs_held ON manifest_blobs (tenant_id, held_repo_id, digest) WHERE held_repo_id IS NOT NULL;

CREATE TABLE manifest_children (
  tenant_id INTEGER NOT NULL,
  repo_id   INTEGER NOT NULL,
  parent    BLOB    NOT NULL,
  child     BLOB    NOT NULL,
  PRIMARY KEY (tenant_id, repo_id, parent, child),
  FOREIGN KEY (tenant_id, repo_id, parent) REFERENCES manifests (tenant_id, repo_id, digest) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE TABLE tags (               -- a deleted tag keeps its row, with no manifest, so that its version only grows
  tenant_id INTEGER NOT NULL,
  repo_id   INTEGER NOT NULL,
  name      TEXT    NOT NULL,
  manifest  BLOB,
  version   INTEGER NOT NULL,
  PRIMARY KEY (tenant_id, repo_id, name),
  FOREIGN KEY (tenant_id, repo_id, manifest) REFERENCES manifests (tenant_id, repo_id, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX tags_by_manifest ON tags (tenant_id, repo_id, manifest) WHERE manifest IS NOT NULL;
CREATE INDEX tags_listed ON tags (tenant_id, repo_id, name) WHERE manifest IS NOT NULL;

-- Upload sessions ---------------------------------------------------------

CREATE TABLE uploads (
  tenant_id   INTEGER NOT NULL,
  id          BLOB    NOT NULL CHECK (length(id) = 16),
  repo_id     INTEGER NOT NULL,
  state       TEXT    NOT NULL CHECK (state IN ('open', 'sealed', 'committed', 'expired')),
  epoch       INTEGER NOT NULL,
  off         INTEGER NOT NULL CHECK (off >= 0),
  algorithm   TEXT    NOT NULL,
  hash_state  BLOB,
  incarnation BLOB    NOT NULL,
  tail        BLOB,
  digest      BLOB,               -- of a sealed or committed session
  expires_at  INTEGER NOT NULL,   -- of an ended session: when its row is forgotten
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, repo_id) REFERENCES repositories (tenant_id, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX uploads_by_repo ON uploads (tenant_id, repo_id);
CREATE INDEX uploads_expiring ON uploads (expires_at);
CREATE INDEX uploads_staged ON uploads (tenant_id, off, state) WHERE state IN ('open', 'sealed');
CREATE INDEX uploads_by_object ON uploads (tenant_id, incarnation);
CREATE INDEX uploads_by_tail ON uploads (tenant_id, tail) WHERE tail IS NOT NULL;

CREATE TABLE upload_parts (
  tenant_id INTEGER NOT NULL,
  upload_id BLOB    NOT NULL,
  n         INTEGER NOT NULL CHECK (n >= 1),
  size      INTEGER NOT NULL CHECK (size > 0),
  etag      TEXT    NOT NULL,
  PRIMARY KEY (tenant_id, upload_id, n),
  FOREIGN KEY (tenant_id, upload_id) REFERENCES uploads (tenant_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
