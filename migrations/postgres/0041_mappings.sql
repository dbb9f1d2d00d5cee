-- What mappings of identity providers made of groups, so that it is made once.

-- +goose Up
CREATE TABLE mapped_groups (
  provider_id     bigint      NOT NULL,
  applied_in      bigint      NOT NULL,           -- the tenant of the person; 0 = the mapping names tenants
  mapping         bytea       NOT NULL,           -- SHA-256 of the mapping
  directory_group text COLLATE "C" NOT NULL,
  applied_at      timestamptz NOT NULL,
  CONSTRAINT mapped_groups_by_group PRIMARY KEY (provider_id, applied_in, mapping, directory_group)
);
CREATE INDEX mapped_groups_by_tenant ON mapped_groups (applied_in);

CREATE TABLE mapping_made (
  provider_id bigint NOT NULL,
  made_in     bigint NOT NULL,  -- the tenant
  registry_id bigint NOT NULL,  -- 0 = the tenant itself
  CONSTRAINT mapping_made_by_registry PRIMARY KEY (provider_id, made_in, registry_id)
);
CREATE INDEX mapping_made_by_tenant ON mapping_made (made_in);
