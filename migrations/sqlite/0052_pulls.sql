-- When hosted manifests and tags were pulled last, and how often (docs/protocol.md,
-- section 14). Rows go with what they are about.

-- +goose Up
CREATE TABLE manifest_pulls (
  tenant_id INTEGER NOT NULL,
  repo_id   INTEGER NOT NULL,
  digest    BLOB    NOT NULL,
  pulled_at INTEGER NOT NULL,
  pulls     INTEGER NOT NULL,
  PRIMARY KEY (tenant_id, repo_id, digest),
  FOREIGN KEY (tenant_id, repo_id, digest) REFERENCES manifests (tenant_id, repo_id, digest) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE TABLE tag_pulls (
  tenant_id INTEGER NOT NULL,
  repo_id   INTEGER NOT NULL,
  name      TEXT    NOT NULL,
  pulled_at INTEGER NOT NULL,
  pulls     INTEGER NOT NULL,
  PRIMARY KEY (tenant_id, repo_id, name),
  FOREIGN KEY (tenant_id, repo_id, name) REFERENCES tags (tenant_id, repo_id, name) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE TABLE pull_accounting (      -- of the deployment, not of a tenant
  one   INTEGER PRIMARY KEY CHECK (one = 1),
  since INTEGER NOT NULL            -- no pull after it is missing, but for those that a recorder still has
) STRICT;
CREATE TABLE pull_recorders (       -- processes that serve pulls
  id       BLOB    PRIMARY KEY CHECK (length(id) = 16),
  number   INTEGER NOT NULL,        -- of the last batch
  known_at INTEGER NOT NULL,        -- all its pulls before are written
  seen_at  INTEGER NOT NULL         -- when it wrote last
) STRICT, WITHOUT ROWID;

-- As in 0002.
INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
  ('manifest_pulls', 'manifest_pulls', '1000000 10000 100 1'),
  ('tag_pulls', 'tag_pulls', '1000000 10000 100 1'),
  ('pull_recorders', 'pull_recorders', '10 1');
ANALYZE sqlite_schema;
