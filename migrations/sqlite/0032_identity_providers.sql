-- Identity providers are directories that know people: those of a tenant, or of the operator,
-- who offers them to tenants. Groups of accounts name groups of directories.

-- +goose Up
CREATE TABLE identity_providers (
  id           INTEGER PRIMARY KEY AUTOINCREMENT,
  tenant_id    INTEGER NOT NULL,                              -- 0 = of the operator
  slug         TEXT    NOT NULL,
  kind         TEXT    NOT NULL,                              -- 'LDAP'
  display_name TEXT    NOT NULL,
  disabled     INTEGER NOT NULL CHECK (disabled IN (0, 1)),
  settings     TEXT    NOT NULL CHECK (json_valid(settings)), -- without secrets
  secret       BLOB    NOT NULL,                              -- sealed; empty = none
  tenants      TEXT    NOT NULL CHECK (json_valid(tenants)),  -- the IDs of those that it is offered to; [] = all
  version      INTEGER NOT NULL,
  created_at   INTEGER NOT NULL,
  updated_at   INTEGER NOT NULL,
  CONSTRAINT identity_providers_by_slug UNIQUE (tenant_id, slug)
) STRICT;

CREATE TABLE group_identities (
  tenant_id       INTEGER NOT NULL,
  provider_id     INTEGER NOT NULL,
  directory_group TEXT    NOT NULL,  -- its name at the provider
  group_slug      TEXT    NOT NULL,
  PRIMARY KEY (tenant_id, provider_id, directory_group, group_slug),
  FOREIGN KEY (tenant_id, group_slug) REFERENCES principal_groups (tenant_id, slug) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX group_identities_by_group    ON group_identities (tenant_id, group_slug);
CREATE INDEX group_identities_by_provider ON group_identities (provider_id);
