-- What was only ever cached is deleted soon after its eviction, and counts as a part
-- of the cache until then: blobs.hosted is set once a hosted repository has linked
-- the blob, and stays. Of older rows that is not known, so they count as hosted.

-- +goose Up
ALTER TABLE blobs ADD COLUMN hosted INTEGER NOT NULL DEFAULT 1 CHECK (hosted IN (0, 1));
-- Set on condemned objects of blobs that were never hosted.
ALTER TABLE objects ADD COLUMN cached INTEGER NOT NULL DEFAULT 0 CHECK (cached IN (0, 1));
CREATE INDEX objects_evicted ON objects (size) WHERE state = 'D' AND cached = 1;

-- +goose StatementBegin
CREATE TRIGGER repo_blobs_host AFTER INSERT ON repo_blobs
BEGIN
  UPDATE blobs SET hosted = 1
   WHERE tenant_id = NEW.tenant_id AND digest = NEW.digest AND hosted = 0
     AND EXISTS (SELECT 1 FROM repositories r
        CROSS JOIN registries g ON g.tenant_id = r.tenant_id AND g.id = r.registry_id AND g.upstream_id IS NULL
        WHERE r.tenant_id = NEW.tenant_id AND r.id = NEW.repo_id);
END;
-- +goose StatementEnd

-- As in 0002.
INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES ('objects', 'objects_evicted', '1000 2');
ANALYZE sqlite_schema;
