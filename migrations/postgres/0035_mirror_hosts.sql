-- Mirror hosts: host names that are secrets, by which engines pull without a credential.

-- +goose Up
CREATE TABLE mirror_hosts (
  tenant_id      bigint      NOT NULL REFERENCES tenants (id),
  slug           text COLLATE "C" NOT NULL,
  registry       text COLLATE "C" NOT NULL,
  upstream       text COLLATE "C" NOT NULL,  -- '' = it answers for the group
  upstream_group text COLLATE "C" NOT NULL,  -- '' = it answers for the upstream
  cached_only    boolean     NOT NULL,
  networks       text        NOT NULL,       -- separated by commas; '' = any
  display_name   text        NOT NULL,
  version        bigint      NOT NULL,
  created_at     timestamptz NOT NULL,
  updated_at     timestamptz NOT NULL,
  last_used_at   timestamptz,                -- NULL = not yet
  last_used_from text,                       -- the client's address
  CONSTRAINT mirror_hosts_by_slug PRIMARY KEY (tenant_id, slug),
  CHECK ((upstream = '') <> (upstream_group = ''))
);

-- A host has one name, and after a rotation the one before until that ends.
CREATE TABLE mirror_names (
  tenant_id  bigint      NOT NULL,
  slug       text COLLATE "C" NOT NULL,
  latest     boolean     NOT NULL,
  hash       bytea       NOT NULL CHECK (length(hash) = 32),  -- SHA-256 of the label
  expires_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, slug, latest),
  CONSTRAINT mirror_names_of_host FOREIGN KEY (tenant_id, slug) REFERENCES mirror_hosts (tenant_id, slug) ON DELETE CASCADE
);
CREATE INDEX mirror_names_by_hash ON mirror_names (hash);

-- The addresses that used a host, up to a number.
CREATE TABLE mirror_addresses (
  tenant_id     bigint      NOT NULL,
  slug          text COLLATE "C" NOT NULL,
  address       text COLLATE "C" NOT NULL,
  first_used_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, slug, address),
  CONSTRAINT mirror_addresses_of_host FOREIGN KEY (tenant_id, slug) REFERENCES mirror_hosts (tenant_id, slug) ON DELETE CASCADE
);
