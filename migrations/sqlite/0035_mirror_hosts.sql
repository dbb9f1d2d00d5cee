-- Mirror hosts: host names that are secrets, by which engines pull without a credential.

-- +goose Up
CREATE TABLE mirror_hosts (
  tenant_id      INTEGER NOT NULL REFERENCES tenants (id),
  slug           TEXT    NOT NULL,
  registry       TEXT    NOT NULL,
  upstream       TEXT    NOT NULL,  -- '' = it answers for the group
  upstream_group TEXT    NOT NULL,  -- '' = it answers for the upstream
  cached_only    INTEGER NOT NULL CHECK (cached_only IN (0, 1)),
  networks       TEXT    NOT NULL,  -- separated by commas; '' = any
  display_name   TEXT    NOT NULL,
  version        INTEGER NOT NULL,
  created_at     INTEGER NOT NULL,
  updated_at     INTEGER NOT NULL,
  last_used_at   INTEGER,           -- NULL = not yet
  last_used_from TEXT,              -- the client's address
  CONSTRAINT mirror_hosts_by_slug PRIMARY KEY (tenant_id, slug),
  CHECK ((upstream = '') <> (upstream_group = ''))
) STRICT, WITHOUT ROWID;

-- A host has one name, and after a rotation the one before until that ends.
CREATE TABLE mirror_names (
  tenant_id  INTEGER NOT NULL,
  slug       TEXT    NOT NULL,
  latest     INTEGER NOT NULL CHECK (latest IN (0, 1)),
  hash       BLOB    NOT NULL CHECK (length(hash) = 32),  -- SHA-256 of the label
  expires_at INTEGER NOT NULL,
  PRIMARY KEY (tenant_id, slug, latest),
  FOREIGN KEY (tenant_id, slug) REFERENCES mirror_hosts (tenant_id, slug) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX mirror_names_by_hash ON mirror_names (hash);

-- The addresses that used a host, up to a number.
CREATE TABLE mirror_addresses (
  tenant_id     INTEGER NOT NULL,
  slug          TEXT    NOT NULL,
  address       TEXT    NOT NULL,
  first_used_at INTEGER NOT NULL,
  PRIMARY KEY (tenant_id, slug, address),
  FOREIGN KEY (tenant_id, slug) REFERENCES mirror_hosts (tenant_id, slug) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
