-- Retention policies, and the last run of each (docs/protocol.md, section 16).

-- +goose Up
CREATE TABLE retention_policies (
  tenant_id    INTEGER NOT NULL REFERENCES tenants (id),
  slug         TEXT    NOT NULL,
  registry     TEXT    NOT NULL,  -- the slug of the one it is for; empty = all of the tenant
  display_name TEXT    NOT NULL,
  disabled     INTEGER NOT NULL CHECK (disabled IN (0, 1)),
  enforced     INTEGER NOT NULL CHECK (enforced IN (0, 1)),  -- else it only says what it would delete
  body         TEXT    NOT NULL CHECK (json_valid(body)),    -- its rules, and what they are for
  version      INTEGER NOT NULL,
  created_at   INTEGER NOT NULL,
  updated_at   INTEGER NOT NULL,
  PRIMARY KEY (tenant_id, slug)
) STRICT, WITHOUT ROWID;

CREATE TABLE retention_runs (
  tenant_id    INTEGER NOT NULL,
  slug         TEXT    NOT NULL,
  number       INTEGER NOT NULL,  -- of the run; 0 = there was none
  due_at       INTEGER,           -- when the next one begins; of a run: when another worker may continue it
  worker       BLOB    CHECK (length(worker) = 16),  -- that has the run
  enforced     INTEGER NOT NULL CHECK (enforced IN (0, 1)),  -- the mode of the run
  began_at     INTEGER,           -- as of when it decides
  ended_at     INTEGER,           -- NULL while it runs
  registry     TEXT    NOT NULL,  -- of the last repository that it is through with
  repository   TEXT    NOT NULL,
  repositories INTEGER NOT NULL,  -- that were evaluated
  deletions    INTEGER NOT NULL,  -- of tags and of manifests with their tags, that were done or would be
  tags         INTEGER NOT NULL,  -- in them
  manifests    INTEGER NOT NULL,  -- in them
  bytes        INTEGER NOT NULL,  -- of them
  protected    INTEGER NOT NULL,  -- tags that a tag rule protects
  refused      INTEGER NOT NULL,  -- deletions that what happened since the evaluation prevented
  limited      INTEGER NOT NULL CHECK (limited IN (0, 1)),  -- it ended at its limit
  failure      TEXT    NOT NULL,  -- why it could not continue, the last time
  PRIMARY KEY (tenant_id, slug),
  FOREIGN KEY (tenant_id, slug) REFERENCES retention_policies (tenant_id, slug) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX retention_runs_due ON retention_runs (due_at) WHERE due_at IS NOT NULL;

-- As in 0002.
INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
  ('retention_policies', 'retention_policies', '10000 10 1'),
  ('retention_runs', 'retention_runs', '10000 10 1'),
  ('retention_runs', 'retention_runs_due', '10000 2');
ANALYZE sqlite_schema;
