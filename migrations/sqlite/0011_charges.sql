-- What a tenant has besides bytes is charged too: usage.overhead is what its rows
-- cost (meta.BlobCost and the constants beside it), and usage.cached is the part
-- of used and overhead that only upstreams stand for. Triggers keep both.

-- +goose Up

ALTER TABLE usage ADD COLUMN overhead INTEGER NOT NULL DEFAULT 0;
ALTER TABLE usage ADD COLUMN cached INTEGER NOT NULL DEFAULT 0;
-- Set where only cached repositories link the blob.
ALTER TABLE blobs ADD COLUMN cached INTEGER NOT NULL DEFAULT 0 CHECK (cached IN (0, 1));
-- How many blobs and manifests it names; NULL until they are counted.
ALTER TABLE manifests ADD COLUMN refs INTEGER;
-- Set on sessions in cached repositories.
ALTER TABLE uploads ADD COLUMN cached INTEGER NOT NULL DEFAULT 0 CHECK (cached IN (0, 1));
DROP INDEX uploads_staged;
CREATE INDEX uploads_staged ON uploads (tenant_id, off, state, cached) WHERE state IN ('open', 'sealed');
-- When the audit log last told that the tag went back.
ALTER TABLE cache_tags ADD COLUMN told_at INTEGER;

-- What is there already.

UPDATE blobs SET cached = 1
 WHERE (tenant_id, digest) IN (
       SELECT rb.tenant_id, rb.digest
         FROM registries g
        CROSS JOIN repositories r ON r.tenant_id = g.tenant_id AND r.registry_id = g.id
        CROSS JOIN repo_blobs rb ON rb.tenant_id = r.tenant_id AND rb.repo_id = r.id
        WHERE g.upstream_id IS NOT NULL)
   AND NOT EXISTS (SELECT 1 FROM repo_blobs h
        CROSS JOIN repositories r ON r.tenant_id = h.tenant_id AND r.id = h.repo_id
        CROSS JOIN registries g ON g.tenant_id = r.tenant_id AND g.id = r.registry_id AND g.upstream_id IS NULL
        WHERE h.tenant_id = blobs.tenant_id AND h.digest = blobs.digest);

UPDATE usage SET (overhead, cached) = (
  SELECT coalesce(sum(c.cost), 0), coalesce(sum((c.cost + c.bytes) * c.is_cached), 0) FROM (
       SELECT cached AS is_cached, 512 * count(*) AS cost, sum(size) AS bytes FROM blobs WHERE tenant_id = usage.tenant_id GROUP BY cached
       UNION ALL
       SELECT g.upstream_id IS NOT NULL, 1024 + m.size, 0
         FROM repositories r
        CROSS JOIN registries g ON g.tenant_id = r.tenant_id AND g.id = r.registry_id
        CROSS JOIN manifests m ON m.tenant_id = r.tenant_id AND m.repo_id = r.id
        WHERE r.tenant_id = usage.tenant_id
       UNION ALL
       SELECT g.upstream_id IS NOT NULL, 2048, 0
         FROM repositories r CROSS JOIN registries g ON g.tenant_id = r.tenant_id AND g.id = r.registry_id WHERE r.tenant_id = usage.tenant_id
       UNION ALL
       SELECT 0, 512 * count(*), 0 FROM tags WHERE tenant_id = usage.tenant_id
       UNION ALL
       SELECT 1, 512 * count(*), 0 FROM cache_tags WHERE tenant_id = usage.tenant_id
       UNION ALL
       SELECT 0, 512 * count(*), 0 FROM name_claims WHERE tenant_id = usage.tenant_id) c);

-- +goose StatementBegin
CREATE TRIGGER blobs_charge AFTER INSERT ON blobs
BEGIN
  UPDATE usage SET overhead = overhead + 512 WHERE tenant_id = NEW.tenant_id;
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER blobs_discharge AFTER DELETE ON blobs
BEGIN
  UPDATE usage SET overhead = overhead - 512, cached = cached - OLD.cached * (OLD.size + 512) WHERE tenant_id = OLD.tenant_id;
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER blobs_change_charge AFTER UPDATE OF cached ON blobs WHEN OLD.cached <> NEW.cached
BEGIN
  UPDATE usage SET cached = cached + (NEW.cached - OLD.cached) * (NEW.size + 512) WHERE tenant_id = NEW.tenant_id;
END;
-- +goose StatementEnd
-- A blob that nothing links any more stays what it was.
-- +goose StatementBegin
CREATE TRIGGER repo_blobs_charge AFTER INSERT ON repo_blobs
BEGIN
  UPDATE blobs SET cached = NOT EXISTS (SELECT 1 FROM repo_blobs h
        CROSS JOIN repositories r ON r.tenant_id = h.tenant_id AND r.id = h.repo_id
        CROSS JOIN registries g ON g.tenant_id = r.tenant_id AND g.id = r.registry_id AND g.upstream_id IS NULL
        WHERE h.tenant_id = NEW.tenant_id AND h.digest = NEW.digest)
   WHERE tenant_id = NEW.tenant_id AND digest = NEW.digest
     AND cached <> NOT EXISTS (SELECT 1 FROM repo_blobs h
        CROSS JOIN repositories r ON r.tenant_id = h.tenant_id AND r.id = h.repo_id
        CROSS JOIN registries g ON g.tenant_id = r.tenant_id AND g.id = r.registry_id AND g.upstream_id IS NULL
        WHERE h.tenant_id = NEW.tenant_id AND h.digest = NEW.digest);
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER repo_blobs_discharge AFTER DELETE ON repo_blobs
BEGIN
  UPDATE blobs SET cached = 1
   WHERE tenant_id = OLD.tenant_id AND digest = OLD.digest AND cached = 0
     AND EXISTS (SELECT 1 FROM repo_blobs rb WHERE rb.tenant_id = OLD.tenant_id AND rb.digest = OLD.digest)
     AND NOT EXISTS (SELECT 1 FROM repo_blobs h
        CROSS JOIN repositories r ON r.tenant_id = h.tenant_id AND r.id = h.repo_id
        CROSS JOIN registries g ON g.tenant_id = r.tenant_id AND g.id = r.registry_id AND g.upstream_id IS NULL
        WHERE h.tenant_id = OLD.tenant_id AND h.digest = OLD.digest);
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER manifests_charge AFTER INSERT ON manifests
BEGIN
  UPDATE usage SET overhead = overhead + (1024 + NEW.size + 512 * coalesce(NEW.refs, 0)),
         cached = cached + (1024 + NEW.size + 512 * coalesce(NEW.refs, 0)) * coalesce((SELECT g.upstream_id IS NOT NULL
           FROM repositories r CROSS JOIN registries g ON g.tenant_id = r.tenant_id AND g.id = r.registry_id
          WHERE r.tenant_id = NEW.tenant_id AND r.id = NEW.repo_id), 0)
   WHERE tenant_id = NEW.tenant_id;
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER manifests_discharge AFTER DELETE ON manifests
BEGIN
  UPDATE usage SET overhead = overhead + -(1024 + OLD.size + 512 * coalesce(OLD.refs, 0)),
         cached = cached + -(1024 + OLD.size + 512 * coalesce(OLD.refs, 0)) * coalesce((SELECT g.upstream_id IS NOT NULL
           FROM repositories r CROSS JOIN registries g ON g.tenant_id = r.tenant_id AND g.id = r.registry_id
          WHERE r.tenant_id = OLD.tenant_id AND r.id = OLD.repo_id), 0)
   WHERE tenant_id = OLD.tenant_id;
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER manifests_change_charge AFTER UPDATE OF refs ON manifests
BEGIN
  UPDATE usage SET overhead = overhead + 512 * (coalesce(NEW.refs, 0) - coalesce(OLD.refs, 0)),
         cached = cached + 512 * (coalesce(NEW.refs, 0) - coalesce(OLD.refs, 0)) * coalesce((SELECT g.upstream_id IS NOT NULL
           FROM repositories r CROSS JOIN registries g ON g.tenant_id = r.tenant_id AND g.id = r.registry_id
          WHERE r.tenant_id = NEW.tenant_id AND r.id = NEW.repo_id), 0)
   WHERE tenant_id = NEW.tenant_id;
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER tags_charge AFTER INSERT ON tags
BEGIN
  UPDATE usage SET overhead = overhead + 512 WHERE tenant_id = NEW.tenant_id;
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER tags_discharge AFTER DELETE ON tags
BEGIN
  UPDATE usage SET overhead = overhead - 512 WHERE tenant_id = OLD.tenant_id;
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER cache_tags_charge AFTER INSERT ON cache_tags
BEGIN
  UPDATE usage SET overhead = overhead + 512, cached = cached + 512 WHERE tenant_id = NEW.tenant_id;
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER cache_tags_discharge AFTER DELETE ON cache_tags
BEGIN
  UPDATE usage SET overhead = overhead - 512, cached = cached - 512 WHERE tenant_id = OLD.tenant_id;
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER repositories_charge AFTER INSERT ON repositories
BEGIN
  UPDATE usage SET overhead = overhead + 2048,
         cached = cached + 2048 * coalesce((SELECT g.upstream_id IS NOT NULL FROM registries g WHERE g.tenant_id = NEW.tenant_id AND g.id = NEW.registry_id), 0)
   WHERE tenant_id = NEW.tenant_id;
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER repositories_discharge AFTER DELETE ON repositories
BEGIN
  UPDATE usage SET overhead = overhead - 2048,
         cached = cached - 2048 * coalesce((SELECT g.upstream_id IS NOT NULL FROM registries g WHERE g.tenant_id = OLD.tenant_id AND g.id = OLD.registry_id), 0)
   WHERE tenant_id = OLD.tenant_id;
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER name_claims_charge AFTER INSERT ON name_claims
BEGIN
  UPDATE usage SET overhead = overhead + 512 WHERE tenant_id = NEW.tenant_id;
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER name_claims_discharge AFTER DELETE ON name_claims
BEGIN
  UPDATE usage SET overhead = overhead - 512 WHERE tenant_id = OLD.tenant_id;
END;
-- +goose StatementEnd

-- As in 0002.
UPDATE sqlite_stat1 SET stat = '10000 50 1 1 1' WHERE idx = 'uploads_staged';
INSERT INTO sqlite_stat1 (tbl, idx, stat) SELECT 'uploads', 'uploads_staged', '10000 50 1 1 1'
 WHERE NOT EXISTS (SELECT 1 FROM sqlite_stat1 WHERE idx = 'uploads_staged');
ANALYZE sqlite_schema;
