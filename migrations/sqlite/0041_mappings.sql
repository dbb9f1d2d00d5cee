-- What mappings of identity providers made of groups, so that it is made once.

-- +goose Up
CREATE TABLE mapped_groups (
  provider_id     INTEGER NOT NULL,
  applied_in      INTEGER NOT NULL,  -- the tenant of the person; 0 = the mapping names tenants
  mapping         BLOB    NOT NULL,  -- SHA-256 of the mapping
  directory_group TEXT    NOT NULL,
  applied_at      INTEGER NOT NULL,
  PRIMARY KEY (provider_id, applied_in, mapping, directory_group)
) STRICT, WITHOUT ROWID;
CREATE INDEX mapped_groups_by_tenant ON mapped_groups (applied_in);

CREATE TABLE mapping_made (
  provider_id INTEGER NOT NULL,
  made_in     INTEGER NOT NULL,  -- the tenant
  registry_id INTEGER NOT NULL,  -- 0 = the tenant itself
  PRIMARY KEY (provider_id, made_in, registry_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX mapping_made_by_tenant ON mapping_made (made_in);
