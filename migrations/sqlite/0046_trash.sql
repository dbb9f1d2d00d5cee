-- What a delete removes can be restored for a while (docs/protocol.md, section 12). The
-- trash has tables of its own, so that no statement that reads or lists can see it.

-- +goose Up
CREATE TABLE trashed_manifests (
  tenant_id     INTEGER NOT NULL,
  repo_id       INTEGER NOT NULL,
  digest        BLOB    NOT NULL,
  media_type    TEXT    NOT NULL,
  size          INTEGER NOT NULL,
  refs          INTEGER NOT NULL,
  subject       BLOB,
  payload       BLOB    NOT NULL,
  tags          TEXT    NOT NULL,  -- that pointed to it, in JSON
  children      TEXT    NOT NULL,  -- that it held, in hexadecimal, in JSON
  op            BLOB    NOT NULL,  -- of the delete
  actor         TEXT    NOT NULL,
  deleted_at    INTEGER NOT NULL,
  restore_until INTEGER NOT NULL,
  PRIMARY KEY (tenant_id, repo_id, digest),
  FOREIGN KEY (tenant_id, repo_id) REFERENCES repositories (tenant_id, id)
) STRICT;
CREATE INDEX trashed_manifests_due ON trashed_manifests (restore_until);
CREATE INDEX trashed_manifests_oldest ON trashed_manifests (tenant_id, restore_until);
CREATE INDEX trashed_manifests_referrers ON trashed_manifests (tenant_id, repo_id, subject, digest) WHERE subject IS NOT NULL;

CREATE TABLE trashed_blobs ( -- what they held
  tenant_id INTEGER NOT NULL,
  repo_id   INTEGER NOT NULL,
  manifest  BLOB    NOT NULL,
  digest    BLOB    NOT NULL,
  PRIMARY KEY (tenant_id, repo_id, manifest, digest),
  FOREIGN KEY (tenant_id, repo_id, manifest) REFERENCES trashed_manifests (tenant_id, repo_id, digest) ON DELETE CASCADE,
  FOREIGN KEY (tenant_id, repo_id, digest) REFERENCES repo_blobs (tenant_id, repo_id, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX trashed_blobs_by_blob ON trashed_blobs (tenant_id, repo_id, digest);

-- A delete released the link, and no live manifest holds it.
ALTER TABLE repo_blobs ADD COLUMN trashed INTEGER NOT NULL DEFAULT 0 CHECK (trashed IN (0, 1));
-- A hosted repository links the blob, and each such link is trashed.
ALTER TABLE blobs ADD COLUMN trash INTEGER NOT NULL DEFAULT 0 CHECK (trash IN (0, 1));
-- The part of used and overhead that only deleted content stands for.
ALTER TABLE usage ADD COLUMN trash INTEGER NOT NULL DEFAULT 0;

DROP TRIGGER blobs_discharge;
-- +goose StatementBegin
CREATE TRIGGER blobs_discharge AFTER DELETE ON blobs
BEGIN
  UPDATE usage SET overhead = overhead - 512, cached = cached - OLD.cached * (OLD.size + 512), trash = trash - OLD.trash * (OLD.size + 512)
   WHERE tenant_id = OLD.tenant_id;
END;
-- +goose StatementEnd
DROP TRIGGER blobs_change_charge;
-- +goose StatementBegin
CREATE TRIGGER blobs_change_charge AFTER UPDATE OF cached, trash ON blobs WHEN OLD.cached <> NEW.cached OR OLD.trash <> NEW.trash
BEGIN
  UPDATE usage SET cached = cached + (NEW.cached - OLD.cached) * (NEW.size + 512), trash = trash + (NEW.trash - OLD.trash) * (NEW.size + 512)
   WHERE tenant_id = NEW.tenant_id;
END;
-- +goose StatementEnd

-- A blob is live where a hosted link is not trashed, else trash where a hosted link
-- exists, else cached where any exists, else what it was.
DROP TRIGGER repo_blobs_charge;
-- +goose StatementBegin
CREATE TRIGGER repo_blobs_charge AFTER INSERT ON repo_blobs
BEGIN
  UPDATE blobs SET (cached, trash) = (SELECT min(g.upstream_id IS NOT NULL), coalesce(min(CASE WHEN g.upstream_id IS NULL THEN h.trashed END), 0)
         FROM repo_blobs h
        CROSS JOIN repositories r ON r.tenant_id = h.tenant_id AND r.id = h.repo_id
        CROSS JOIN registries g ON g.tenant_id = r.tenant_id AND g.id = r.registry_id
        WHERE h.tenant_id = NEW.tenant_id AND h.digest = NEW.digest)
   WHERE tenant_id = NEW.tenant_id AND digest = NEW.digest
     AND (cached = 1 OR trash = 1 OR NOT EXISTS (SELECT 1 FROM repositories r
        CROSS JOIN registries g ON g.tenant_id = r.tenant_id AND g.id = r.registry_id AND g.upstream_id IS NULL
        WHERE r.tenant_id = NEW.tenant_id AND r.id = NEW.repo_id));
END;
-- +goose StatementEnd
DROP TRIGGER repo_blobs_discharge;
-- +goose StatementBegin
CREATE TRIGGER repo_blobs_discharge AFTER DELETE ON repo_blobs
BEGIN
  UPDATE blobs SET (cached, trash) = (SELECT min(g.upstream_id IS NOT NULL), coalesce(min(CASE WHEN g.upstream_id IS NULL THEN h.trashed END), 0)
         FROM repo_blobs h
        CROSS JOIN repositories r ON r.tenant_id = h.tenant_id AND r.id = h.repo_id
        CROSS JOIN registries g ON g.tenant_id = r.tenant_id AND g.id = r.registry_id
        WHERE h.tenant_id = OLD.tenant_id AND h.digest = OLD.digest)
   WHERE tenant_id = OLD.tenant_id AND digest = OLD.digest AND cached = 0
     AND EXISTS (SELECT 1 FROM repo_blobs rb WHERE rb.tenant_id = OLD.tenant_id AND rb.digest = OLD.digest);
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER repo_blobs_trash AFTER UPDATE OF trashed ON repo_blobs WHEN OLD.trashed <> NEW.trashed
BEGIN
  UPDATE blobs SET (cached, trash) = (SELECT min(g.upstream_id IS NOT NULL), coalesce(min(CASE WHEN g.upstream_id IS NULL THEN h.trashed END), 0)
         FROM repo_blobs h
        CROSS JOIN repositories r ON r.tenant_id = h.tenant_id AND r.id = h.repo_id
        CROSS JOIN registries g ON g.tenant_id = r.tenant_id AND g.id = r.registry_id
        WHERE h.tenant_id = NEW.tenant_id AND h.digest = NEW.digest)
   WHERE tenant_id = NEW.tenant_id AND digest = NEW.digest;
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER trashed_manifests_charge AFTER INSERT ON trashed_manifests
BEGIN
  UPDATE usage SET overhead = overhead + (1024 + NEW.size + 512 * NEW.refs), trash = trash + (1024 + NEW.size + 512 * NEW.refs)
   WHERE tenant_id = NEW.tenant_id;
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER trashed_manifests_discharge AFTER DELETE ON trashed_manifests
BEGIN
  UPDATE usage SET overhead = overhead - (1024 + OLD.size + 512 * OLD.refs), trash = trash - (1024 + OLD.size + 512 * OLD.refs)
   WHERE tenant_id = OLD.tenant_id;
END;
-- +goose StatementEnd

-- As in 0002.
INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
  ('trashed_manifests', 'sqlite_autoindex_trashed_manifests_1', '100000 100 30 1'),
  ('trashed_manifests', 'trashed_manifests_due', '100000 10'),
  ('trashed_manifests', 'trashed_manifests_oldest', '100000 100 10'),
  ('trashed_manifests', 'trashed_manifests_referrers', '30000 30 10 5 1'),
  ('trashed_blobs', 'trashed_blobs', '1000000 1000 300 10 1'),
  ('trashed_blobs', 'trashed_blobs_by_blob', '1000000 1000 300 5');
ANALYZE sqlite_schema;
