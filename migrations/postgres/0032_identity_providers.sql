-- Identity providers are directories that know people: those of a tenant, or of the operator,
-- who offers them to tenants. Groups of accounts name groups of directories.

-- +goose Up
CREATE TABLE identity_providers (
  tenant_id    bigint      NOT NULL,           -- 0 = of the operator
  id           bigint      GENERATED ALWAYS AS IDENTITY,
  slug         text COLLATE "C" NOT NULL,
  kind         text        NOT NULL,           -- 'LDAP'
  display_name text        NOT NULL,
  disabled     boolean     NOT NULL,
  settings     json        NOT NULL,           -- without secrets
  secret       bytea       NOT NULL,           -- sealed; empty = none
  tenants      json        NOT NULL,           -- the IDs of those that it is offered to; [] = all
  version      bigint      NOT NULL,
  created_at   timestamptz NOT NULL,
  updated_at   timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, id),
  CONSTRAINT identity_providers_by_slug UNIQUE (tenant_id, slug)
);
CREATE INDEX identity_providers_by_id ON identity_providers (id);

CREATE TABLE group_identities (
  tenant_id       bigint NOT NULL,
  provider_id     bigint NOT NULL,
  directory_group text COLLATE "C" NOT NULL,   -- its name at the provider
  group_slug      text COLLATE "C" NOT NULL,
  CONSTRAINT group_identities_by_identity PRIMARY KEY (tenant_id, provider_id, directory_group, group_slug),
  CONSTRAINT group_identities_of_group FOREIGN KEY (tenant_id, group_slug) REFERENCES principal_groups (tenant_id, slug) ON DELETE CASCADE
);
CREATE INDEX group_identities_by_group    ON group_identities (tenant_id, group_slug);
CREATE INDEX group_identities_by_provider ON group_identities (provider_id);
