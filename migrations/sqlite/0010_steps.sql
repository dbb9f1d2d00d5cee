-- A manifest whose referrers go with it goes at once; they go in steps, which the
-- rows here remember: what was deleted, and how far its referrers were looked at.
-- What is pushed meanwhile is kept.

-- +goose Up
CREATE TABLE referrer_deletions (
  tenant_id INTEGER NOT NULL,
  repo_id   INTEGER NOT NULL,
  op        BLOB    NOT NULL CHECK (length(op) = 16),  -- of the request
  subject   BLOB    NOT NULL,                          -- deleted by it
  after     BLOB    NOT NULL,                          -- referrers up to this digest are done with
  PRIMARY KEY (tenant_id, repo_id, op, subject),
  FOREIGN KEY (tenant_id, repo_id) REFERENCES repositories (tenant_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE TABLE kept_referrers (     -- referrers that were pushed while such a deletion was under way
  tenant_id INTEGER NOT NULL,
  repo_id   INTEGER NOT NULL,
  op        BLOB    NOT NULL CHECK (length(op) = 16),
  digest    BLOB    NOT NULL,
  PRIMARY KEY (tenant_id, repo_id, op, digest),
  FOREIGN KEY (tenant_id, repo_id) REFERENCES repositories (tenant_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

-- As in 0002.
INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
  ('referrer_deletions', 'referrer_deletions', '1000 10 5 2 1'),
  ('kept_referrers', 'kept_referrers', '1000 10 5 5 1');
ANALYZE sqlite_schema;
