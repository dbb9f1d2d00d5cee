-- +goose NO TRANSACTION

-- Quotas of what is hosted: bytes, repositories, manifests and tags of a registry, and
-- repositories, manifests and tags of a tenant (docs/protocol.md, section 22). Triggers
-- count at COMMIT, so that nodes of the version before count, and are refused, too. Every
-- step can be run again.

-- +goose Up
ALTER TABLE usage ADD COLUMN IF NOT EXISTS max_repositories bigint NOT NULL DEFAULT 0;  -- 0 = none, as the next two
ALTER TABLE usage ADD COLUMN IF NOT EXISTS max_manifests    bigint NOT NULL DEFAULT 0;
ALTER TABLE usage ADD COLUMN IF NOT EXISTS max_tags         bigint NOT NULL DEFAULT 0;

-- Changed under the lock of the tenant's row of usage; the maxima are those of the registry's settings.
CREATE TABLE IF NOT EXISTS registry_usage (
  tenant_id        bigint NOT NULL,
  registry_id      bigint NOT NULL,    -- of a hosted registry
  bytes            bigint NOT NULL DEFAULT 0,
  repositories     bigint NOT NULL DEFAULT 0,
  manifests        bigint NOT NULL DEFAULT 0,
  tags             bigint NOT NULL DEFAULT 0,
  max_bytes        bigint NOT NULL DEFAULT 0,
  max_repositories bigint NOT NULL DEFAULT 0,
  max_manifests    bigint NOT NULL DEFAULT 0,
  max_tags         bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (tenant_id, registry_id),
  FOREIGN KEY (tenant_id, registry_id) REFERENCES registries (tenant_id, id) ON DELETE CASCADE
) WITH (fillfactor = 50);

CREATE TABLE IF NOT EXISTS registry_blobs (  -- in how many repositories of the registry a link is not trashed
  tenant_id   bigint NOT NULL,
  registry_id bigint NOT NULL,
  digest      bytea  NOT NULL,
  size        bigint NOT NULL,
  links       bigint NOT NULL,
  PRIMARY KEY (tenant_id, registry_id, digest)
);

-- A tenant whose rows are counted from the beginning: those up to here are. A kind is
-- 1 repository, 2 link, 3 manifest, 4 tag; 0 before the old counts are gone.
CREATE TABLE IF NOT EXISTS usage_counting (
  tenant_id bigint   NOT NULL PRIMARY KEY,
  repo_id   bigint   NOT NULL,
  kind      smallint NOT NULL,
  key       bytea    NOT NULL
);

-- The quotas that are exceeded.
CREATE OR REPLACE VIEW exceeded_quotas AS
SELECT u.tenant_id, u.registry_id, 2 AS kind, json_build_object('of', 'registry', 'what', 'bytes', 'used', u.bytes, 'max', u.max_bytes)::text AS refusal
  FROM registry_usage u WHERE u.max_bytes > 0 AND u.bytes > u.max_bytes
UNION ALL
SELECT u.tenant_id, u.registry_id, 1, json_build_object('of', 'registry', 'what', 'repositories', 'used', u.repositories, 'max', u.max_repositories)::text
  FROM registry_usage u WHERE u.max_repositories > 0 AND u.repositories > u.max_repositories
UNION ALL
SELECT u.tenant_id, u.registry_id, 3, json_build_object('of', 'registry', 'what', 'manifests', 'used', u.manifests, 'max', u.max_manifests)::text
  FROM registry_usage u WHERE u.max_manifests > 0 AND u.manifests > u.max_manifests
UNION ALL
SELECT u.tenant_id, u.registry_id, 4, json_build_object('of', 'registry', 'what', 'tags', 'used', u.tags, 'max', u.max_tags)::text
  FROM registry_usage u WHERE u.max_tags > 0 AND u.tags > u.max_tags
UNION ALL
SELECT u.tenant_id, u.registry_id, s.kind, json_build_object('of', 'tenant', 'what', s.what, 'used', s.used, 'max', s.most)::text
  FROM registry_usage u
  JOIN usage q ON q.tenant_id = u.tenant_id AND (q.max_repositories > 0 OR q.max_manifests > 0 OR q.max_tags > 0)
 CROSS JOIN LATERAL (SELECT sum(x.repositories)::bigint AS repositories, sum(x.manifests)::bigint AS manifests, sum(x.tags)::bigint AS tags
                       FROM registry_usage x WHERE x.tenant_id = u.tenant_id) AS all_
 CROSS JOIN LATERAL (VALUES (1, 'repositories', all_.repositories, q.max_repositories),
                            (3, 'manifests', all_.manifests, q.max_manifests),
                            (4, 'tags', all_.tags, q.max_tags)) AS s (kind, what, used, most)
 WHERE s.most > 0 AND s.used > s.most;

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION berth_registry_quota() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.upstream_id IS NOT NULL THEN
    RETURN NULL;
  END IF;
  INSERT INTO registry_usage (tenant_id, registry_id, max_bytes, max_repositories, max_manifests, max_tags)
  VALUES (NEW.tenant_id, NEW.id,
          coalesce((NEW.settings -> 'quota' ->> 'bytes')::bigint, 0), coalesce((NEW.settings -> 'quota' ->> 'repositories')::bigint, 0),
          coalesce((NEW.settings -> 'quota' ->> 'manifests')::bigint, 0), coalesce((NEW.settings -> 'quota' ->> 'tags')::bigint, 0))
  ON CONFLICT (tenant_id, registry_id) DO UPDATE
     SET max_bytes = excluded.max_bytes, max_repositories = excluded.max_repositories, max_manifests = excluded.max_manifests, max_tags = excluded.max_tags;
  RETURN NULL;
END;
$$;
-- +goose StatementEnd

-- What CountHosted counts; the triggers below add the bytes themselves.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION berth_registry_blob() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE registry_usage SET bytes = bytes + NEW.size WHERE tenant_id = NEW.tenant_id AND registry_id = NEW.registry_id;
  RETURN NULL;
END;
$$;
-- +goose StatementEnd

-- One more or less of a kind, in the registry u. All counts of a tenant change under the lock
-- of its row of usage, so that no two transactions wait for each other. The statements after
-- it see what all transactions before have counted. What is not counted yet, by the cursor in
-- usage_counting, is left out. The error names the constraint by which older nodes know a
-- quota that is used up. Most writes come here once or twice, so it has few statements.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION berth_count(u registry_usage, repo bigint, of_kind integer, k bytea, n integer, payload bigint, refuse boolean) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  most     bigint;
  l        bigint;
  bytes_   bigint;
  refusal_ text;
BEGIN
  IF u.registry_id IS NULL THEN
    RETURN;  -- of an upstream
  END IF;
  SELECT q.max_repositories + q.max_manifests + q.max_tags INTO most FROM usage q WHERE q.tenant_id = u.tenant_id FOR NO KEY UPDATE;
  IF of_kind = 2 AND n > 0 THEN
    INSERT INTO registry_blobs (tenant_id, registry_id, digest, size, links)
    SELECT u.tenant_id, u.registry_id, k, b.size, 1
      FROM blobs b
     WHERE b.tenant_id = u.tenant_id AND b.digest = k
       AND NOT EXISTS (SELECT 1 FROM usage_counting c WHERE c.tenant_id = u.tenant_id AND (c.repo_id, c.kind::integer, c.key) < (repo, of_kind, k))
    ON CONFLICT (tenant_id, registry_id, digest) DO UPDATE SET links = registry_blobs.links + 1
    RETURNING links, size INTO l, bytes_;
    IF l IS NULL OR l > 1 THEN
      RETURN;
    END IF;
    UPDATE registry_usage SET bytes = bytes + bytes_ WHERE tenant_id = u.tenant_id AND registry_id = u.registry_id;
  ELSIF of_kind = 2 THEN
    UPDATE registry_blobs SET links = links - 1
     WHERE tenant_id = u.tenant_id AND registry_id = u.registry_id AND digest = k
       AND NOT EXISTS (SELECT 1 FROM usage_counting c WHERE c.tenant_id = u.tenant_id AND (c.repo_id, c.kind::integer, c.key) < (repo, of_kind, k))
    RETURNING links, size INTO l, bytes_;
    IF l = 0 THEN
      DELETE FROM registry_blobs WHERE tenant_id = u.tenant_id AND registry_id = u.registry_id AND digest = k;
      UPDATE registry_usage SET bytes = bytes - bytes_ WHERE tenant_id = u.tenant_id AND registry_id = u.registry_id;
    END IF;
  ELSE
    UPDATE registry_usage x
       SET bytes = bytes + n * payload, repositories = repositories + CASE of_kind WHEN 1 THEN n ELSE 0 END,
           manifests = manifests + CASE of_kind WHEN 3 THEN n ELSE 0 END, tags = tags + CASE of_kind WHEN 4 THEN n ELSE 0 END
     WHERE x.tenant_id = u.tenant_id AND x.registry_id = u.registry_id
       AND NOT EXISTS (SELECT 1 FROM usage_counting c WHERE c.tenant_id = u.tenant_id AND (c.repo_id, c.kind::integer, c.key) < (repo, of_kind, k));
    refuse := refuse AND FOUND;
  END IF;
  IF n < 0 OR NOT refuse OR u.max_bytes + u.max_repositories + u.max_manifests + u.max_tags + most = 0 THEN
    RETURN;
  END IF;
  SELECT x.refusal INTO refusal_ FROM exceeded_quotas x
   WHERE x.tenant_id = u.tenant_id AND x.registry_id = u.registry_id AND (x.kind = of_kind OR x.kind = 2 AND of_kind = 3) LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'a quota is used up' USING ERRCODE = 'check_violation', CONSTRAINT = 'usage_in_limit', DETAIL = refusal_;
  END IF;
END;
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION berth_count_repository() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  u registry_usage;
BEGIN
  IF TG_OP = 'INSERT' THEN
    SELECT * INTO u FROM registry_usage x WHERE x.tenant_id = NEW.tenant_id AND x.registry_id = NEW.registry_id;
    PERFORM berth_count(u, NEW.id, 1, '', 1, 0, true);
  ELSE
    SELECT * INTO u FROM registry_usage x WHERE x.tenant_id = OLD.tenant_id AND x.registry_id = OLD.registry_id;
    PERFORM berth_count(u, OLD.id, 1, '', -1, 0, false);
  END IF;
  RETURN NULL;
END;
$$;
-- +goose StatementEnd

-- The collector finds that a link is held after all (linksAreNamed, which ends keep_until):
-- that is no growth to refuse, since it was held when the quota had room for it, or is until
-- the next delete.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION berth_count_link() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  u registry_usage;
BEGIN
  IF TG_OP = 'DELETE' THEN
    SELECT x.* INTO u FROM repositories r JOIN registry_usage x ON x.tenant_id = r.tenant_id AND x.registry_id = r.registry_id WHERE r.tenant_id = OLD.tenant_id AND r.id = OLD.repo_id;
    PERFORM berth_count(u, OLD.repo_id, 2, OLD.digest, -1, 0, false);
  ELSIF NEW.trashed THEN
    SELECT x.* INTO u FROM repositories r JOIN registry_usage x ON x.tenant_id = r.tenant_id AND x.registry_id = r.registry_id WHERE r.tenant_id = NEW.tenant_id AND r.id = NEW.repo_id;
    PERFORM berth_count(u, NEW.repo_id, 2, NEW.digest, -1, 0, false);
  ELSE
    SELECT x.* INTO u FROM repositories r JOIN registry_usage x ON x.tenant_id = r.tenant_id AND x.registry_id = r.registry_id WHERE r.tenant_id = NEW.tenant_id AND r.id = NEW.repo_id;
    PERFORM berth_count(u, NEW.repo_id, 2, NEW.digest, 1, 0,
                        TG_OP = 'INSERT' OR NOT (OLD.keep_until IS NOT NULL AND NEW.keep_until IS NULL));
  END IF;
  RETURN NULL;
END;
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION berth_count_manifest() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  u registry_usage;
BEGIN
  IF TG_OP = 'INSERT' THEN
    SELECT x.* INTO u FROM repositories r JOIN registry_usage x ON x.tenant_id = r.tenant_id AND x.registry_id = r.registry_id WHERE r.tenant_id = NEW.tenant_id AND r.id = NEW.repo_id;
    PERFORM berth_count(u, NEW.repo_id, 3, NEW.digest, 1, NEW.size, true);
  ELSE
    SELECT x.* INTO u FROM repositories r JOIN registry_usage x ON x.tenant_id = r.tenant_id AND x.registry_id = r.registry_id WHERE r.tenant_id = OLD.tenant_id AND r.id = OLD.repo_id;
    PERFORM berth_count(u, OLD.repo_id, 3, OLD.digest, -1, OLD.size, false);
  END IF;
  RETURN NULL;
END;
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION berth_count_tag() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  u registry_usage;
BEGIN
  IF TG_OP = 'INSERT' THEN
    SELECT x.* INTO u FROM repositories r JOIN registry_usage x ON x.tenant_id = r.tenant_id AND x.registry_id = r.registry_id WHERE r.tenant_id = NEW.tenant_id AND r.id = NEW.repo_id;
    PERFORM berth_count(u, NEW.repo_id, 4, convert_to(NEW.name, 'UTF8'), 1, 0, true);
  ELSE
    SELECT x.* INTO u FROM repositories r JOIN registry_usage x ON x.tenant_id = r.tenant_id AND x.registry_id = r.registry_id WHERE r.tenant_id = OLD.tenant_id AND r.id = OLD.repo_id;
    PERFORM berth_count(u, OLD.repo_id, 4, convert_to(OLD.name, 'UTF8'), -1, 0, false);
  END IF;
  RETURN NULL;
END;
$$;
-- +goose StatementEnd

-- Tenants begin uncounted. One that is made before all triggers are there is added at the end.
INSERT INTO usage_counting (tenant_id, repo_id, kind, key) SELECT t.id, 0, 0, '' FROM tenants t ON CONFLICT DO NOTHING;

DROP TRIGGER IF EXISTS registries_quota ON registries;
CREATE TRIGGER registries_quota AFTER INSERT OR UPDATE OF settings ON registries
  FOR EACH ROW EXECUTE FUNCTION berth_registry_quota();
INSERT INTO registry_usage (tenant_id, registry_id) SELECT g.tenant_id, g.id FROM registries g WHERE g.upstream_id IS NULL ON CONFLICT DO NOTHING;

DROP TRIGGER IF EXISTS registry_blobs_size ON registry_blobs;
CREATE TRIGGER registry_blobs_size AFTER INSERT ON registry_blobs
  FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION berth_registry_blob();

-- Deferred triggers of a row run by their names: after those that charge, which wait for blobs.
DROP TRIGGER IF EXISTS repositories_used ON repositories;
CREATE CONSTRAINT TRIGGER repositories_used AFTER INSERT OR DELETE ON repositories
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION berth_count_repository();
DROP TRIGGER IF EXISTS repo_blobs_used_insert ON repo_blobs;
CREATE CONSTRAINT TRIGGER repo_blobs_used_insert AFTER INSERT ON repo_blobs
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NOT NEW.trashed) EXECUTE FUNCTION berth_count_link();
DROP TRIGGER IF EXISTS repo_blobs_used_update ON repo_blobs;
CREATE CONSTRAINT TRIGGER repo_blobs_used_update AFTER UPDATE OF trashed ON repo_blobs
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (OLD.trashed <> NEW.trashed) EXECUTE FUNCTION berth_count_link();
DROP TRIGGER IF EXISTS repo_blobs_used_delete ON repo_blobs;
CREATE CONSTRAINT TRIGGER repo_blobs_used_delete AFTER DELETE ON repo_blobs
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NOT OLD.trashed) EXECUTE FUNCTION berth_count_link();
DROP TRIGGER IF EXISTS tags_used ON tags;
CREATE CONSTRAINT TRIGGER tags_used AFTER INSERT OR DELETE ON tags
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION berth_count_tag();
DROP TRIGGER IF EXISTS manifests_used ON manifests;
CREATE CONSTRAINT TRIGGER manifests_used AFTER INSERT OR DELETE ON manifests
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION berth_count_manifest();

INSERT INTO usage_counting (tenant_id, repo_id, kind, key) SELECT t.id, 0, 0, '' FROM tenants t ON CONFLICT DO NOTHING;
