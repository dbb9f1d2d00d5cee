-- What tags pointed to, and who moved them.

-- +goose Up
CREATE TABLE tag_history (
  tenant_id INTEGER NOT NULL,
  repo_id   INTEGER NOT NULL,
  name      TEXT    NOT NULL,
  version   INTEGER NOT NULL,  -- of the tag from then on
  manifest  BLOB,              -- NULL = it was deleted
  previous  BLOB,              -- NULL = it was not there
  verb      TEXT    NOT NULL,
  actor     TEXT    NOT NULL,
  at        INTEGER NOT NULL,
  PRIMARY KEY (tenant_id, repo_id, name, version),
  FOREIGN KEY (tenant_id, repo_id) REFERENCES repositories (tenant_id, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX tag_history_by_time ON tag_history (at);

-- The operation that deletes the manifest; NULL for cached ones.
ALTER TABLE manifest_deletions ADD COLUMN op BLOB;

-- As in 0002.
INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES ('tag_history', 'tag_history', '1000000 10000 100 10 1');
INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES ('tag_history', 'tag_history_by_time', '1000000 10');
ANALYZE sqlite_schema;
