-- When hosted manifests and tags were pulled last, and how often (docs/protocol.md,
-- section 14). Rows go with what they are about, also by an older node's hand.

-- +goose Up
CREATE TABLE manifest_pulls (
  tenant_id bigint      NOT NULL,
  repo_id   bigint      NOT NULL,
  digest    bytea       NOT NULL,
  pulled_at timestamptz NOT NULL,
  pulls     bigint      NOT NULL,
  PRIMARY KEY (tenant_id, repo_id, digest),
  FOREIGN KEY (tenant_id, repo_id, digest) REFERENCES manifests (tenant_id, repo_id, digest) ON DELETE CASCADE
);
CREATE TABLE tag_pulls (
  tenant_id bigint      NOT NULL,
  repo_id   bigint      NOT NULL,
  name      text COLLATE "C" NOT NULL,
  pulled_at timestamptz NOT NULL,
  pulls     bigint      NOT NULL,
  PRIMARY KEY (tenant_id, repo_id, name),
  FOREIGN KEY (tenant_id, repo_id, name) REFERENCES tags (tenant_id, repo_id, name) ON DELETE CASCADE
);

CREATE TABLE pull_accounting (      -- of the deployment, not of a tenant
  one   integer     PRIMARY KEY CHECK (one = 1),
  since timestamptz NOT NULL        -- no pull after it is missing, but for those that a recorder still has
);
CREATE TABLE pull_recorders (       -- processes that serve pulls
  id       uuid        PRIMARY KEY,
  number   bigint      NOT NULL,    -- of the last batch
  known_at timestamptz NOT NULL,    -- all its pulls before are written
  seen_at  timestamptz NOT NULL     -- when it wrote last
);
