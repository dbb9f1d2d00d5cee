-- The purge of a digest in a whole tenant (docs/protocol.md, section 12).

-- +goose Up
CREATE TABLE digest_purges ( -- those that are running
  tenant_id INTEGER NOT NULL,
  digest    BLOB    NOT NULL,
  op        BLOB    NOT NULL CHECK (length(op) = 16),
  force     INTEGER NOT NULL,  -- live manifests go, too
  cause     TEXT    NOT NULL,  -- who asked for it
  began_at  INTEGER NOT NULL,
  PRIMARY KEY (tenant_id, digest),
  FOREIGN KEY (tenant_id) REFERENCES tenants (id)
) STRICT, WITHOUT ROWID;

CREATE TABLE purged_digests ( -- what a running one has ended, and what that named
  tenant_id INTEGER NOT NULL,
  purge     BLOB    NOT NULL,
  repo_id   INTEGER NOT NULL,
  digest    BLOB    NOT NULL,
  manifest  INTEGER NOT NULL,
  PRIMARY KEY (tenant_id, purge, manifest, repo_id, digest),
  FOREIGN KEY (tenant_id, purge) REFERENCES digest_purges (tenant_id, digest) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

-- Of condemned objects: the digest of their blob, and the purge that ended it.
ALTER TABLE objects ADD COLUMN digest BLOB;
ALTER TABLE objects ADD COLUMN purge BLOB;
CREATE INDEX objects_by_digest ON objects (tenant_id, digest) WHERE digest IS NOT NULL;
CREATE INDEX objects_by_purge ON objects (tenant_id, purge) WHERE purge IS NOT NULL;
CREATE INDEX tag_history_by_manifest ON tag_history (tenant_id, repo_id, manifest) WHERE manifest IS NOT NULL;
CREATE INDEX tag_history_by_previous ON tag_history (tenant_id, repo_id, previous) WHERE previous IS NOT NULL;

-- +goose StatementBegin
CREATE TRIGGER blobs_name_object AFTER DELETE ON blobs
BEGIN
  UPDATE objects SET digest = OLD.digest WHERE tenant_id = OLD.tenant_id AND incarnation = OLD.incarnation;
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER blobs_name_replaced AFTER UPDATE OF incarnation ON blobs WHEN OLD.incarnation <> NEW.incarnation
BEGIN
  UPDATE objects SET digest = OLD.digest WHERE tenant_id = OLD.tenant_id AND incarnation = OLD.incarnation;
END;
-- +goose StatementEnd

-- As in 0002.
INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
  ('objects', 'objects_by_digest', '10000 100 1'),
  ('objects', 'objects_by_purge', '1000 10 3'),
  ('tag_history', 'tag_history_by_manifest', '1000000 10000 100 2'),
  ('tag_history', 'tag_history_by_previous', '1000000 10000 100 2'),
  ('digest_purges', 'digest_purges', '3 2 1'),
  ('purged_digests', 'purged_digests', '1000 500 300 150 100 1');
ANALYZE sqlite_schema;
