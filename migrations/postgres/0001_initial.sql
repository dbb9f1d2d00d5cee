-- Digests are one byte for the algorithm and the sum (oci.Digest.Bytes). Every
-- foreign and unique key of tenant data starts with tenant_id; ids come from
-- sequences, so that none is ever used again. Names are ordered by their bytes
-- (COLLATE "C"), whatever the database's own collation.

-- +goose Up

-- The one clock of all nodes: when the transaction began.
CREATE FUNCTION berth_now() RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE AS 'SELECT now()';

-- Tenants, registries and the hosts that lead to them --------------------

CREATE TABLE tenants (            -- a deleted tenant keeps its row as a tombstone
  id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  slug         text COLLATE "C" NOT NULL,
  display_name text        NOT NULL,
  state        text        NOT NULL CHECK (state IN ('active', 'suspended', 'deleting', 'deleted')),
  epoch        bigint      NOT NULL,  -- grows when all tokens must die
  version      bigint      NOT NULL,
  created_at   timestamptz NOT NULL,
  updated_at   timestamptz NOT NULL,
  deleted_at   timestamptz            -- when it was marked deleting: the quarantine of its slug starts
);
CREATE UNIQUE INDEX tenants_by_slug ON tenants (slug) WHERE state <> 'deleted';
CREATE INDEX tenants_holders ON tenants (slug, id);
CREATE INDEX tenants_deleting ON tenants (id) WHERE state = 'deleting';

CREATE TABLE usage (              -- updated by every new blob: room for the next version of the row beside it
  tenant_id bigint PRIMARY KEY REFERENCES tenants (id),
  used      bigint NOT NULL CONSTRAINT usage_in_limit CHECK (used >= 0),
  lim       bigint NOT NULL CHECK (lim >= 0)  -- 0 = none
) WITH (fillfactor = 50);

CREATE TABLE registries (
  tenant_id  bigint      NOT NULL REFERENCES tenants (id),
  id         bigint      GENERATED ALWAYS AS IDENTITY,
  slug       text COLLATE "C" NOT NULL,
  settings   json        NOT NULL,    -- of tenant.Settings
  state      text        NOT NULL CHECK (state IN ('active', 'deleting')),
  version    bigint      NOT NULL,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, id),
  CONSTRAINT registries_by_slug UNIQUE (tenant_id, slug)
);
CREATE INDEX registries_deleting ON registries (id) WHERE state = 'deleting';

CREATE TABLE domains (
  tenant_id   bigint      NOT NULL,
  host        text COLLATE "C" NOT NULL,
  registry_id bigint      NOT NULL,
  verified    boolean     NOT NULL,
  challenge   text        NOT NULL,
  version     bigint      NOT NULL,
  created_at  timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, host),
  FOREIGN KEY (tenant_id, registry_id) REFERENCES registries (tenant_id, id) ON DELETE CASCADE
);
-- Who a host leads to is decided between tenants, so this key names none.
CREATE UNIQUE INDEX domains_routing ON domains (host) WHERE verified;
CREATE INDEX domains_by_registry ON domains (tenant_id, registry_id);

-- Accounts, keys and the audit log ---------------------------------------

CREATE TABLE accounts (
  tenant_id    bigint      NOT NULL REFERENCES tenants (id),
  id           bigint      GENERATED ALWAYS AS IDENTITY,
  slug         text COLLATE "C" NOT NULL,
  display_name text        NOT NULL,
  role         text        NOT NULL,
  disabled     boolean     NOT NULL,
  version      bigint      NOT NULL,
  created_at   timestamptz NOT NULL,
  updated_at   timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, id),
  CONSTRAINT accounts_by_slug UNIQUE (tenant_id, slug)
);

CREATE TABLE account_keys (
  tenant_id  bigint      NOT NULL,
  account_id bigint      NOT NULL,
  name       text COLLATE "C" NOT NULL,
  hash       bytea       NOT NULL CHECK (length(hash) = 32),  -- SHA-256 of the secret
  created_at timestamptz NOT NULL,
  expires_at timestamptz,                                     -- NULL = never
  PRIMARY KEY (tenant_id, account_id, name),
  FOREIGN KEY (tenant_id, account_id) REFERENCES accounts (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX account_keys_by_hash ON account_keys (hash);

CREATE TABLE signing_keys (       -- of the deployment, not of a tenant
  id         text COLLATE "C" PRIMARY KEY,
  algorithm  text        NOT NULL,
  private    bytea       NOT NULL,
  created_at timestamptz NOT NULL,
  retired_at timestamptz          -- NULL = signs
);

CREATE TABLE events (             -- one row per mutation; op makes a retried request take effect once
  tenant_id  bigint      NOT NULL,
  id         bigint      GENERATED ALWAYS AS IDENTITY,
  op         uuid        NOT NULL,
  at         timestamptz NOT NULL,
  actor      text        NOT NULL,
  verb       text        NOT NULL,
  target     text        NOT NULL,
  request_id text        NOT NULL,
  PRIMARY KEY (tenant_id, id),
  CONSTRAINT events_by_op UNIQUE (tenant_id, op)
);

-- Bytes -------------------------------------------------------------------

CREATE TABLE objects (            -- one row per physical object, written BEFORE the first byte
  tenant_id    bigint      NOT NULL,
  incarnation  uuid        NOT NULL,
  state        "char"      NOT NULL CHECK (state IN ('S', 'L', 'D')),  -- staged, live, condemned
  size         bigint      NOT NULL DEFAULT 0 CHECK (size >= 0),
  multipart_id text        NOT NULL DEFAULT '',
  created_at   timestamptz NOT NULL,
  delete_after timestamptz,       -- set when condemned
  next_try     timestamptz,       -- a deletion is under way until then
  PRIMARY KEY (tenant_id, incarnation),
  UNIQUE (tenant_id, incarnation, state),
  CHECK ((state = 'D') = (delete_after IS NOT NULL))
);
-- When a condemned object is due, so that those being tried do not stand in front of the others.
CREATE INDEX objects_due ON objects (greatest(delete_after, next_try)) WHERE state = 'D';
CREATE INDEX objects_staged ON objects (created_at) WHERE state = 'S';

-- +goose StatementBegin
CREATE FUNCTION objects_condemned_is_final() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'a condemned object stays condemned';
END;
$$;
-- +goose StatementEnd
CREATE TRIGGER objects_condemned_is_final BEFORE UPDATE OF state ON objects
  FOR EACH ROW WHEN (OLD.state = 'D' AND NEW.state <> 'D') EXECUTE FUNCTION objects_condemned_is_final();

CREATE TABLE blobs (              -- the distinct content of a tenant
  tenant_id   bigint  NOT NULL,
  digest      bytea   NOT NULL,
  size        bigint  NOT NULL CHECK (size >= 0),
  incarnation uuid    NOT NULL,
  ostate      "char"  NOT NULL DEFAULT 'L' CHECK (ostate = 'L'),
  keep_until  timestamptz,        -- NULL = no candidate for collection
  suspect     boolean NOT NULL DEFAULT false,
  PRIMARY KEY (tenant_id, digest),
  -- The database refuses to condemn a live object.
  FOREIGN KEY (tenant_id, incarnation, ostate) REFERENCES objects (tenant_id, incarnation, state)
);
-- Not unique: a unique index would make a heal wait for KEY SHARE.
CREATE INDEX blobs_by_object ON blobs (tenant_id, incarnation);
CREATE INDEX blobs_candidates ON blobs (keep_until) WHERE keep_until IS NOT NULL;

-- Repositories and their content -----------------------------------------

CREATE TABLE repositories (       -- hosted ones have a registry, cached ones an upstream
  tenant_id      bigint  NOT NULL,
  id             bigint  GENERATED ALWAYS AS IDENTITY,
  registry_id    bigint,
  upstream_id    bigint,
  config_version bigint,
  name           text COLLATE "C" NOT NULL,
  state          text    NOT NULL CHECK (state IN ('active', 'deleting')),
  listed         boolean NOT NULL DEFAULT false,  -- holds a manifest
  created_at     timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, id),
  CHECK ((registry_id IS NULL) <> (upstream_id IS NULL)),
  CHECK ((upstream_id IS NULL) = (config_version IS NULL)),
  FOREIGN KEY (tenant_id, registry_id) REFERENCES registries (tenant_id, id)
);
-- A name is free again as soon as its repository is being deleted: what is
-- pushed to it then is another repository, with another id.
CREATE UNIQUE INDEX repositories_by_name ON repositories (tenant_id, registry_id, name) WHERE state = 'active';
CREATE INDEX repositories_listed ON repositories (tenant_id, registry_id, name) WHERE state = 'active' AND listed;
CREATE INDEX repositories_by_registry ON repositories (tenant_id, registry_id);
CREATE INDEX repositories_deleting ON repositories (id) WHERE state = 'deleting';

-- What may be pushed to. Its rows are found by (tenant_id, registry_id, name).
CREATE VIEW open_repositories AS
SELECT r.tenant_id, r.registry_id, r.name, r.id, r.listed, g.slug AS registry
  FROM repositories r
  JOIN registries g ON g.tenant_id = r.tenant_id AND g.id = r.registry_id
  JOIN tenants t ON t.id = r.tenant_id
 WHERE r.state = 'active' AND g.state = 'active' AND t.state = 'active';

CREATE TABLE name_claims (        -- names that ever held a manifest; they survive deletes
  tenant_id   bigint      NOT NULL,
  registry_id bigint      NOT NULL,
  name        text COLLATE "C" NOT NULL,
  since       timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, registry_id, name),
  FOREIGN KEY (tenant_id, registry_id) REFERENCES registries (tenant_id, id) ON DELETE CASCADE
);

CREATE TABLE repo_blobs (         -- which blobs a repository holds
  tenant_id  bigint NOT NULL,
  repo_id    bigint NOT NULL,
  digest     bytea  NOT NULL,
  keep_until timestamptz,         -- NULL = no candidate for collection
  PRIMARY KEY (tenant_id, repo_id, digest),
  FOREIGN KEY (tenant_id, repo_id) REFERENCES repositories (tenant_id, id),
  FOREIGN KEY (tenant_id, digest) REFERENCES blobs (tenant_id, digest)
);
CREATE INDEX repo_blobs_candidates ON repo_blobs (keep_until) WHERE keep_until IS NOT NULL;
CREATE INDEX repo_blobs_by_blob ON repo_blobs (tenant_id, digest);

CREATE TABLE manifests (
  tenant_id     bigint      NOT NULL,
  repo_id       bigint      NOT NULL,
  digest        bytea       NOT NULL,
  media_type    text        NOT NULL,
  size          bigint      NOT NULL,
  subject       bytea,
  artifact_type text COLLATE "C" NOT NULL,
  annotations   json        NOT NULL,
  expire_at     timestamptz,      -- cached content only; NULL = hosted, never collected
  created_at    timestamptz NOT NULL,
  payload       bytea       NOT NULL,
  PRIMARY KEY (tenant_id, repo_id, digest),
  FOREIGN KEY (tenant_id, repo_id) REFERENCES repositories (tenant_id, id)
);
CREATE INDEX manifests_referrers ON manifests (tenant_id, repo_id, subject, digest) WHERE subject IS NOT NULL;
CREATE INDEX manifests_referrers_by_type ON manifests (tenant_id, repo_id, subject, artifact_type, digest) WHERE subject IS NOT NULL;
CREATE INDEX manifests_expiring ON manifests (expire_at) WHERE expire_at IS NOT NULL;

CREATE TABLE manifest_blobs (
  tenant_id    bigint NOT NULL,
  repo_id      bigint NOT NULL,
  manifest     bytea  NOT NULL,
  digest       bytea  NOT NULL,
  held_repo_id bigint CHECK (held_repo_id = repo_id),  -- NULL: referenced but not held (foreign layer, sparse, cached)
  PRIMARY KEY (tenant_id, repo_id, manifest, digest),
  FOREIGN KEY (tenant_id, repo_id, manifest) REFERENCES manifests (tenant_id, repo_id, digest) ON DELETE CASCADE,
  FOREIGN KEY (tenant_id, held_repo_id, digest) REFERENCES repo_blobs (tenant_id, repo_id, digest)
);
CREATE INDEX manifest_blobs_by_blob ON manifest_blobs (tenant_id, repo_id, digest);
CREATE INDEX manifest_blobs_held ON manifest_blobs (tenant_id, held_repo_id, digest) WHERE held_repo_id IS NOT NULL;

CREATE TABLE manifest_children (
  tenant_id bigint NOT NULL,
  repo_id   bigint NOT NULL,
  parent    bytea  NOT NULL,
  child     bytea  NOT NULL,
  PRIMARY KEY (tenant_id, repo_id, parent, child),
  FOREIGN KEY (tenant_id, repo_id, parent) REFERENCES manifests (tenant_id, repo_id, digest) ON DELETE CASCADE
);

CREATE TABLE tags (               -- a deleted tag keeps its row, with no manifest, so that its version only grows
  tenant_id bigint NOT NULL,
  repo_id   bigint NOT NULL,
  name      text COLLATE "C" NOT NULL,
  manifest  bytea,
  version   bigint NOT NULL,
  PRIMARY KEY (tenant_id, repo_id, name),
  CONSTRAINT tags_point_to_manifests FOREIGN KEY (tenant_id, repo_id, manifest) REFERENCES manifests (tenant_id, repo_id, digest),
  FOREIGN KEY (tenant_id, repo_id) REFERENCES repositories (tenant_id, id)
);
CREATE INDEX tags_by_manifest ON tags (tenant_id, repo_id, manifest) WHERE manifest IS NOT NULL;
CREATE INDEX tags_listed ON tags (tenant_id, repo_id, name) WHERE manifest IS NOT NULL;

-- Upload sessions ---------------------------------------------------------

CREATE TABLE uploads (
  tenant_id   bigint      NOT NULL,
  id          uuid        NOT NULL,
  repo_id     bigint      NOT NULL,
  state       text        NOT NULL CHECK (state IN ('open', 'sealed', 'committed', 'expired')),
  epoch       bigint      NOT NULL,
  off         bigint      NOT NULL CHECK (off >= 0),
  algorithm   text        NOT NULL,
  hash_state  bytea,
  incarnation uuid        NOT NULL,
  tail        uuid,
  digest      bytea,              -- of a sealed or committed session
  expires_at  timestamptz NOT NULL,  -- of an ended session: when its row is forgotten
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, repo_id) REFERENCES repositories (tenant_id, id)
);
CREATE INDEX uploads_by_repo ON uploads (tenant_id, repo_id);
CREATE INDEX uploads_expiring ON uploads (expires_at);
CREATE INDEX uploads_staged ON uploads (tenant_id) INCLUDE (off) WHERE state IN ('open', 'sealed');
CREATE INDEX uploads_by_object ON uploads (tenant_id, incarnation);
CREATE INDEX uploads_by_tail ON uploads (tenant_id, tail) WHERE tail IS NOT NULL;

CREATE TABLE upload_parts (
  tenant_id bigint NOT NULL,
  upload_id uuid   NOT NULL,
  n         int    NOT NULL CHECK (n >= 1),
  size      bigint NOT NULL CHECK (size > 0),
  etag      text   NOT NULL,
  PRIMARY KEY (tenant_id, upload_id, n),
  FOREIGN KEY (tenant_id, upload_id) REFERENCES uploads (tenant_id, id) ON DELETE CASCADE
);
