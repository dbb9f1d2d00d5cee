-- A manifest of thousands of references or tags is deleted in steps, which the rows
-- here remember. Until the last one it can be read; nothing can be put upon it.

-- +goose Up
CREATE TABLE manifest_deletions (
  tenant_id INTEGER NOT NULL,
  repo_id   INTEGER NOT NULL,
  digest    BLOB    NOT NULL,
  PRIMARY KEY (tenant_id, repo_id, digest),
  FOREIGN KEY (tenant_id, repo_id, digest) REFERENCES manifests (tenant_id, repo_id, digest) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

-- As in 0002.
INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES ('manifest_deletions', 'manifest_deletions', '1000 10 5 1');
ANALYZE sqlite_schema;
