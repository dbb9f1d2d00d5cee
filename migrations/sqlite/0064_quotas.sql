-- Quotas of what is hosted: bytes, repositories, manifests and tags of a registry, and
-- repositories, manifests and tags of a tenant (docs/protocol.md, section 22). Triggers
-- count.

-- +goose Up

ALTER TABLE usage ADD COLUMN max_repositories INTEGER NOT NULL DEFAULT 0;  -- 0 = none, as the next two
ALTER TABLE usage ADD COLUMN max_manifests INTEGER NOT NULL DEFAULT 0;
ALTER TABLE usage ADD COLUMN max_tags INTEGER NOT NULL DEFAULT 0;

CREATE TABLE registry_usage (     -- the maxima are those of the registry's settings
  tenant_id        INTEGER NOT NULL,
  registry_id      INTEGER NOT NULL,  -- of a hosted registry
  bytes            INTEGER NOT NULL DEFAULT 0,
  repositories     INTEGER NOT NULL DEFAULT 0,
  manifests        INTEGER NOT NULL DEFAULT 0,
  tags             INTEGER NOT NULL DEFAULT 0,
  max_bytes        INTEGER NOT NULL DEFAULT 0,
  max_repositories INTEGER NOT NULL DEFAULT 0,
  max_manifests    INTEGER NOT NULL DEFAULT 0,
  max_tags         INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (tenant_id, registry_id),
  FOREIGN KEY (tenant_id, registry_id) REFERENCES registries (tenant_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE TABLE registry_blobs (     -- in how many repositories of the registry a link is not trashed
  tenant_id   INTEGER NOT NULL,
  registry_id INTEGER NOT NULL,
  digest      BLOB    NOT NULL,
  size        INTEGER NOT NULL,
  links       INTEGER NOT NULL,
  PRIMARY KEY (tenant_id, registry_id, digest)
) STRICT, WITHOUT ROWID;

-- A tenant whose rows are counted from the beginning: those up to here are. A kind is
-- 1 repository, 2 link, 3 manifest, 4 tag; 0 before the old counts are gone.
CREATE TABLE usage_counting (
  tenant_id INTEGER NOT NULL PRIMARY KEY,
  repo_id   INTEGER NOT NULL,
  kind      INTEGER NOT NULL,
  key       BLOB    NOT NULL
) STRICT;

-- The quotas that are exceeded.
CREATE VIEW exceeded_quotas AS
SELECT u.tenant_id, u.registry_id, 2 AS kind, json_object('of', 'registry', 'what', 'bytes', 'used', u.bytes, 'max', u.max_bytes) AS refusal
  FROM registry_usage u WHERE u.max_bytes > 0 AND u.bytes > u.max_bytes
UNION ALL
SELECT u.tenant_id, u.registry_id, 1, json_object('of', 'registry', 'what', 'repositories', 'used', u.repositories, 'max', u.max_repositories)
  FROM registry_usage u WHERE u.max_repositories > 0 AND u.repositories > u.max_repositories
UNION ALL
SELECT u.tenant_id, u.registry_id, 3, json_object('of', 'registry', 'what', 'manifests', 'used', u.manifests, 'max', u.max_manifests)
  FROM registry_usage u WHERE u.max_manifests > 0 AND u.manifests > u.max_manifests
UNION ALL
SELECT u.tenant_id, u.registry_id, 4, json_object('of', 'registry', 'what', 'tags', 'used', u.tags, 'max', u.max_tags)
  FROM registry_usage u WHERE u.max_tags > 0 AND u.tags > u.max_tags
UNION ALL
SELECT u.tenant_id, u.registry_id, 1, json_object('of', 'tenant', 'what', 'repositories', 'used', (SELECT sum(x.repositories) FROM registry_usage x WHERE x.tenant_id = u.tenant_id), 'max', q.max_repositories)
  FROM registry_usage u JOIN usage q ON q.tenant_id = u.tenant_id AND q.max_repositories > 0
 WHERE (SELECT sum(x.repositories) FROM registry_usage x WHERE x.tenant_id = u.tenant_id) > q.max_repositories
UNION ALL
SELECT u.tenant_id, u.registry_id, 3, json_object('of', 'tenant', 'what', 'manifests', 'used', (SELECT sum(x.manifests) FROM registry_usage x WHERE x.tenant_id = u.tenant_id), 'max', q.max_manifests)
  FROM registry_usage u JOIN usage q ON q.tenant_id = u.tenant_id AND q.max_manifests > 0
 WHERE (SELECT sum(x.manifests) FROM registry_usage x WHERE x.tenant_id = u.tenant_id) > q.max_manifests
UNION ALL
SELECT u.tenant_id, u.registry_id, 4, json_object('of', 'tenant', 'what', 'tags', 'used', (SELECT sum(x.tags) FROM registry_usage x WHERE x.tenant_id = u.tenant_id), 'max', q.max_tags)
  FROM registry_usage u JOIN usage q ON q.tenant_id = u.tenant_id AND q.max_tags > 0
 WHERE (SELECT sum(x.tags) FROM registry_usage x WHERE x.tenant_id = u.tenant_id) > q.max_tags;

-- +goose StatementBegin
CREATE TRIGGER registries_quota_insert AFTER INSERT ON registries WHEN NEW.upstream_id IS NULL
BEGIN
  INSERT INTO registry_usage (tenant_id, registry_id, max_bytes, max_repositories, max_manifests, max_tags)
  VALUES (NEW.tenant_id, NEW.id, coalesce(NEW.settings ->> '$.quota.bytes', 0), coalesce(NEW.settings ->> '$.quota.repositories', 0),
          coalesce(NEW.settings ->> '$.quota.manifests', 0), coalesce(NEW.settings ->> '$.quota.tags', 0));
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER registries_quota_update AFTER UPDATE OF settings ON registries
BEGIN
  UPDATE registry_usage
     SET max_bytes = coalesce(NEW.settings ->> '$.quota.bytes', 0), max_repositories = coalesce(NEW.settings ->> '$.quota.repositories', 0),
         max_manifests = coalesce(NEW.settings ->> '$.quota.manifests', 0), max_tags = coalesce(NEW.settings ->> '$.quota.tags', 0)
   WHERE tenant_id = NEW.tenant_id AND registry_id = NEW.id;
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER registry_blobs_size AFTER INSERT ON registry_blobs
BEGIN
  UPDATE registry_usage SET bytes = bytes + NEW.size WHERE tenant_id = NEW.tenant_id AND registry_id = NEW.registry_id;
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER registry_blobs_unsize AFTER DELETE ON registry_blobs
BEGIN
  UPDATE registry_usage SET bytes = bytes - OLD.size WHERE tenant_id = OLD.tenant_id AND registry_id = OLD.registry_id;
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER repositories_used AFTER INSERT ON repositories
BEGIN
  UPDATE registry_usage SET repositories = repositories + 1
   WHERE tenant_id = NEW.tenant_id AND registry_id = NEW.registry_id
     AND NOT EXISTS (SELECT 1 FROM usage_counting c WHERE c.tenant_id = NEW.tenant_id AND (c.repo_id, c.kind, c.key) < (NEW.id, 1, x''));
  SELECT RAISE(ABORT, 'berth_quota:' || x.refusal) FROM exceeded_quotas x
   WHERE x.tenant_id = NEW.tenant_id AND x.registry_id = NEW.registry_id AND x.kind = 1 LIMIT 1;
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER repositories_unused AFTER DELETE ON repositories
BEGIN
  UPDATE registry_usage SET repositories = repositories - 1
   WHERE tenant_id = OLD.tenant_id AND registry_id = OLD.registry_id
     AND NOT EXISTS (SELECT 1 FROM usage_counting c WHERE c.tenant_id = OLD.tenant_id AND (c.repo_id, c.kind, c.key) < (OLD.id, 1, x''));
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER repo_blobs_used AFTER INSERT ON repo_blobs WHEN NEW.trashed = 0
BEGIN
  INSERT INTO registry_blobs (tenant_id, registry_id, digest, size, links)
  SELECT NEW.tenant_id, u.registry_id, NEW.digest, b.size, 1
    FROM repositories r
   CROSS JOIN registry_usage u ON u.tenant_id = r.tenant_id AND u.registry_id = r.registry_id
   CROSS JOIN blobs b ON b.tenant_id = NEW.tenant_id AND b.digest = NEW.digest
   WHERE r.tenant_id = NEW.tenant_id AND r.id = NEW.repo_id
     AND NOT EXISTS (SELECT 1 FROM usage_counting c WHERE c.tenant_id = NEW.tenant_id AND (c.repo_id, c.kind, c.key) < (NEW.repo_id, 2, NEW.digest))
  ON CONFLICT (tenant_id, registry_id, digest) DO UPDATE SET links = links + 1;
  SELECT RAISE(ABORT, 'berth_quota:' || x.refusal)
    FROM repositories r
   CROSS JOIN registry_blobs o ON o.tenant_id = r.tenant_id AND o.registry_id = r.registry_id AND o.digest = NEW.digest AND o.links = 1
   CROSS JOIN exceeded_quotas x ON x.tenant_id = r.tenant_id AND x.registry_id = r.registry_id AND x.kind = 2
   WHERE r.tenant_id = NEW.tenant_id AND r.id = NEW.repo_id LIMIT 1;
END;
-- +goose StatementEnd
-- The collector finds that a link is held after all (linkIsNamed, which ends keep_until):
-- that is no growth to refuse.
-- +goose StatementBegin
CREATE TRIGGER repo_blobs_used_again AFTER UPDATE OF trashed ON repo_blobs WHEN OLD.trashed = 1 AND NEW.trashed = 0
BEGIN
  INSERT INTO registry_blobs (tenant_id, registry_id, digest, size, links)
  SELECT NEW.tenant_id, u.registry_id, NEW.digest, b.size, 1
    FROM repositories r
   CROSS JOIN registry_usage u ON u.tenant_id = r.tenant_id AND u.registry_id = r.registry_id
   CROSS JOIN blobs b ON b.tenant_id = NEW.tenant_id AND b.digest = NEW.digest
   WHERE r.tenant_id = NEW.tenant_id AND r.id = NEW.repo_id
     AND NOT EXISTS (SELECT 1 FROM usage_counting c WHERE c.tenant_id = NEW.tenant_id AND (c.repo_id, c.kind, c.key) < (NEW.repo_id, 2, NEW.digest))
  ON CONFLICT (tenant_id, registry_id, digest) DO UPDATE SET links = links + 1;
  SELECT RAISE(ABORT, 'berth_quota:' || x.refusal)
    FROM repositories r
   CROSS JOIN registry_blobs o ON o.tenant_id = r.tenant_id AND o.registry_id = r.registry_id AND o.digest = NEW.digest AND o.links = 1
   CROSS JOIN exceeded_quotas x ON x.tenant_id = r.tenant_id AND x.registry_id = r.registry_id AND x.kind = 2
   WHERE r.tenant_id = NEW.tenant_id AND r.id = NEW.repo_id AND (OLD.keep_until IS NULL OR NEW.keep_until IS NOT NULL) LIMIT 1;
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER repo_blobs_unused_trashed AFTER UPDATE OF trashed ON repo_blobs WHEN OLD.trashed = 0 AND NEW.trashed = 1
BEGIN
  UPDATE registry_blobs SET links = links - 1
   WHERE tenant_id = OLD.tenant_id AND digest = OLD.digest
     AND registry_id = (SELECT r.registry_id FROM repositories r WHERE r.tenant_id = OLD.tenant_id AND r.id = OLD.repo_id)
     AND NOT EXISTS (SELECT 1 FROM usage_counting c WHERE c.tenant_id = OLD.tenant_id AND (c.repo_id, c.kind, c.key) < (OLD.repo_id, 2, OLD.digest));
  DELETE FROM registry_blobs
   WHERE tenant_id = OLD.tenant_id AND digest = OLD.digest AND links = 0
     AND registry_id = (SELECT r.registry_id FROM repositories r WHERE r.tenant_id = OLD.tenant_id AND r.id = OLD.repo_id);
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER repo_blobs_unused AFTER DELETE ON repo_blobs WHEN OLD.trashed = 0
BEGIN
  UPDATE registry_blobs SET links = links - 1
   WHERE tenant_id = OLD.tenant_id AND digest = OLD.digest
     AND registry_id = (SELECT r.registry_id FROM repositories r WHERE r.tenant_id = OLD.tenant_id AND r.id = OLD.repo_id)
     AND NOT EXISTS (SELECT 1 FROM usage_counting c WHERE c.tenant_id = OLD.tenant_id AND (c.repo_id, c.kind, c.key) < (OLD.repo_id, 2, OLD.digest));
  DELETE FROM registry_blobs
   WHERE tenant_id = OLD.tenant_id AND digest = OLD.digest AND links = 0
     AND registry_id = (SELECT r.registry_id FROM repositories r WHERE r.tenant_id = OLD.tenant_id AND r.id = OLD.repo_id);
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER manifests_used AFTER INSERT ON manifests
BEGIN
  UPDATE registry_usage SET manifests = manifests + 1, bytes = bytes + NEW.size
   WHERE tenant_id = NEW.tenant_id AND registry_id = (SELECT r.registry_id FROM repositories r WHERE r.tenant_id = NEW.tenant_id AND r.id = NEW.repo_id)
     AND NOT EXISTS (SELECT 1 FROM usage_counting c WHERE c.tenant_id = NEW.tenant_id AND (c.repo_id, c.kind, c.key) < (NEW.repo_id, 3, NEW.digest));
  SELECT RAISE(ABORT, 'berth_quota:' || x.refusal)
    FROM repositories r
   CROSS JOIN exceeded_quotas x ON x.tenant_id = r.tenant_id AND x.registry_id = r.registry_id AND x.kind IN (2, 3)
   WHERE r.tenant_id = NEW.tenant_id AND r.id = NEW.repo_id LIMIT 1;
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER manifests_unused AFTER DELETE ON manifests
BEGIN
  UPDATE registry_usage SET manifests = manifests - 1, bytes = bytes - OLD.size
   WHERE tenant_id = OLD.tenant_id AND registry_id = (SELECT r.registry_id FROM repositories r WHERE r.tenant_id = OLD.tenant_id AND r.id = OLD.repo_id)
     AND NOT EXISTS (SELECT 1 FROM usage_counting c WHERE c.tenant_id = OLD.tenant_id AND (c.repo_id, c.kind, c.key) < (OLD.repo_id, 3, OLD.digest));
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER tags_used AFTER INSERT ON tags
BEGIN
  UPDATE registry_usage SET tags = tags + 1
   WHERE tenant_id = NEW.tenant_id AND registry_id = (SELECT r.registry_id FROM repositories r WHERE r.tenant_id = NEW.tenant_id AND r.id = NEW.repo_id)
     AND NOT EXISTS (SELECT 1 FROM usage_counting c WHERE c.tenant_id = NEW.tenant_id AND (c.repo_id, c.kind, c.key) < (NEW.repo_id, 4, CAST(NEW.name AS BLOB)));
  SELECT RAISE(ABORT, 'berth_quota:' || x.refusal)
    FROM repositories r
   CROSS JOIN exceeded_quotas x ON x.tenant_id = r.tenant_id AND x.registry_id = r.registry_id AND x.kind = 4
   WHERE r.tenant_id = NEW.tenant_id AND r.id = NEW.repo_id LIMIT 1;
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER tags_unused AFTER DELETE ON tags
BEGIN
  UPDATE registry_usage SET tags = tags - 1
   WHERE tenant_id = OLD.tenant_id AND registry_id = (SELECT r.registry_id FROM repositories r WHERE r.tenant_id = OLD.tenant_id AND r.id = OLD.repo_id)
     AND NOT EXISTS (SELECT 1 FROM usage_counting c WHERE c.tenant_id = OLD.tenant_id AND (c.repo_id, c.kind, c.key) < (OLD.repo_id, 4, CAST(OLD.name AS BLOB)));
END;
-- +goose StatementEnd

INSERT INTO registry_usage (tenant_id, registry_id) SELECT g.tenant_id, g.id FROM registries g WHERE g.upstream_id IS NULL;
INSERT INTO usage_counting (tenant_id, repo_id, kind, key) SELECT t.id, 0, 0, x'' FROM tenants t;

-- As in 0002.
INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
  ('registry_usage', 'registry_usage', '1000 10 1'),
  ('registry_blobs', 'registry_blobs', '1000000 1000 100 1');
ANALYZE sqlite_schema;
