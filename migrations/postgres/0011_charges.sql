-- +goose NO TRANSACTION

-- What a tenant has besides bytes is charged too: usage.overhead is what its rows
-- cost (meta.BlobCost and the constants beside it), and usage.cached is the part
-- of used and overhead that only upstreams stand for. Triggers keep both, so that
-- nodes of the version before keep them as well; they run at COMMIT, where the
-- row of usage is locked last. Every step can be run again.

-- +goose Up
ALTER TABLE usage ADD COLUMN IF NOT EXISTS overhead bigint NOT NULL DEFAULT 0;
ALTER TABLE usage ADD COLUMN IF NOT EXISTS cached   bigint NOT NULL DEFAULT 0;
-- Set where only cached repositories link the blob.
ALTER TABLE blobs ADD COLUMN IF NOT EXISTS cached boolean NOT NULL DEFAULT false;
-- How many blobs and manifests it names; NULL until they are counted.
ALTER TABLE manifests ADD COLUMN IF NOT EXISTS refs integer;
-- Set on sessions in cached repositories.
ALTER TABLE uploads ADD COLUMN IF NOT EXISTS cached boolean NOT NULL DEFAULT false;
-- When the audit log last told that the tag went back.
ALTER TABLE cache_tags ADD COLUMN IF NOT EXISTS told_at timestamptz;

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION berth_is_cached(t bigint, repo bigint) RETURNS boolean LANGUAGE sql STABLE AS $$
  SELECT coalesce((SELECT g.upstream_id IS NOT NULL
                     FROM repositories r JOIN registries g ON g.tenant_id = r.tenant_id AND g.id = r.registry_id
                    WHERE r.tenant_id = t AND r.id = repo), false)
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION berth_charge(t bigint, cost bigint, is_cached boolean) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  UPDATE usage SET overhead = overhead + cost, cached = cached + CASE WHEN is_cached THEN cost ELSE 0 END WHERE tenant_id = t;
END;
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION berth_charge_blob() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    UPDATE usage SET overhead = overhead + 512 WHERE tenant_id = NEW.tenant_id;
  ELSE
    UPDATE usage SET overhead = overhead - 512, cached = cached - CASE WHEN OLD.cached THEN OLD.size + 512 ELSE 0 END
     WHERE tenant_id = OLD.tenant_id;
  END IF;
  RETURN NULL;
END;
$$;
-- +goose StatementEnd

-- The lock waits for others that link or unlink the blob; what follows sees what
-- they have done. A blob that nothing links any more stays what it was.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION berth_charge_link() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  l    repo_blobs := CASE WHEN TG_OP = 'INSERT' THEN NEW ELSE OLD END;
  was  boolean;
  now_ boolean;
  cost bigint;
BEGIN
  SELECT b.cached, b.size + 512 INTO was, cost FROM blobs b WHERE b.tenant_id = l.tenant_id AND b.digest = l.digest FOR NO KEY UPDATE;
  IF NOT FOUND OR NOT EXISTS (SELECT 1 FROM repo_blobs rb WHERE rb.tenant_id = l.tenant_id AND rb.digest = l.digest) THEN
    RETURN NULL;
  END IF;
  now_ := NOT EXISTS (SELECT 1 FROM repo_blobs rb WHERE rb.tenant_id = l.tenant_id AND rb.digest = l.digest AND NOT berth_is_cached(rb.tenant_id, rb.repo_id));
  IF was <> now_ THEN
    UPDATE blobs SET cached = now_ WHERE tenant_id = l.tenant_id AND digest = l.digest;
    UPDATE usage SET cached = usage.cached + CASE WHEN now_ THEN cost ELSE -cost END WHERE tenant_id = l.tenant_id;
  END IF;
  RETURN NULL;
END;
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION berth_charge_manifest() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    PERFORM berth_charge(NEW.tenant_id, 1024 + NEW.size + 512 * coalesce(NEW.refs, 0), berth_is_cached(NEW.tenant_id, NEW.repo_id));
  ELSIF TG_OP = 'DELETE' THEN
    PERFORM berth_charge(OLD.tenant_id, -(1024 + OLD.size + 512 * coalesce(OLD.refs, 0)), berth_is_cached(OLD.tenant_id, OLD.repo_id));
  ELSE
    PERFORM berth_charge(NEW.tenant_id, 512 * (coalesce(NEW.refs, 0) - coalesce(OLD.refs, 0)), berth_is_cached(NEW.tenant_id, NEW.repo_id));
  END IF;
  RETURN NULL;
END;
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION berth_charge_tag() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    PERFORM berth_charge(NEW.tenant_id, 512, TG_TABLE_NAME = 'cache_tags');
  ELSE
    PERFORM berth_charge(OLD.tenant_id, -512, TG_TABLE_NAME = 'cache_tags');
  END IF;
  RETURN NULL;
END;
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION berth_charge_name() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  owner bigint  := CASE WHEN TG_OP = 'INSERT' THEN NEW.tenant_id ELSE OLD.tenant_id END;
  held  bigint  := CASE WHEN TG_OP = 'INSERT' THEN NEW.registry_id ELSE OLD.registry_id END;
  cost  bigint  := CASE WHEN TG_TABLE_NAME = 'repositories' THEN 2048 ELSE 512 END;
BEGIN
  PERFORM berth_charge(owner, CASE WHEN TG_OP = 'INSERT' THEN cost ELSE -cost END,
    coalesce((SELECT g.upstream_id IS NOT NULL FROM registries g WHERE g.tenant_id = owner AND g.id = held), false));
  RETURN NULL;
END;
$$;
-- +goose StatementEnd

DROP TRIGGER IF EXISTS blobs_charge ON blobs;
CREATE CONSTRAINT TRIGGER blobs_charge AFTER INSERT OR DELETE ON blobs
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION berth_charge_blob();
DROP TRIGGER IF EXISTS repo_blobs_charge ON repo_blobs;
CREATE CONSTRAINT TRIGGER repo_blobs_charge AFTER INSERT OR DELETE ON repo_blobs
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION berth_charge_link();
DROP TRIGGER IF EXISTS manifests_charge ON manifests;
CREATE CONSTRAINT TRIGGER manifests_charge AFTER INSERT OR DELETE OR UPDATE OF refs ON manifests
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION berth_charge_manifest();
DROP TRIGGER IF EXISTS tags_charge ON tags;
CREATE CONSTRAINT TRIGGER tags_charge AFTER INSERT OR DELETE ON tags
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION berth_charge_tag();
DROP TRIGGER IF EXISTS cache_tags_charge ON cache_tags;
CREATE CONSTRAINT TRIGGER cache_tags_charge AFTER INSERT OR DELETE ON cache_tags
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION berth_charge_tag();
DROP TRIGGER IF EXISTS repositories_charge ON repositories;
CREATE CONSTRAINT TRIGGER repositories_charge AFTER INSERT OR DELETE ON repositories
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION berth_charge_name();
DROP TRIGGER IF EXISTS name_claims_charge ON name_claims;
CREATE CONSTRAINT TRIGGER name_claims_charge AFTER INSERT OR DELETE ON name_claims
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION berth_charge_name();

-- What must fit into the quota: all, or what is not only cached. The error names
-- the constraint by which older nodes know a quota that is used up.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION berth_quota(t bigint, with_cached boolean) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT 1 FROM usage WHERE tenant_id = t AND lim > 0 AND used + overhead - CASE WHEN with_cached THEN 0 ELSE cached END > lim) THEN
    RAISE EXCEPTION 'the quota is used up' USING ERRCODE = 'check_violation', CONSTRAINT = 'usage_in_limit';
  END IF;
END;
$$;
-- +goose StatementEnd

-- Bytes of unfinished uploads: with more of them, at most most (< 0: any number),
-- and at most what is left of the quota. Under a quota, one transaction at a time.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION berth_staged(t bigint, is_cached boolean, more bigint, most bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  room   bigint;
  staged bigint;
  pushed bigint;
BEGIN
  SELECT u.lim - u.used - u.overhead + CASE WHEN is_cached THEN 0 ELSE u.cached END INTO room
    FROM usage u WHERE u.tenant_id = t AND u.lim > 0 FOR NO KEY UPDATE;
  SELECT coalesce(sum(u.off), 0), coalesce(sum(u.off) FILTER (WHERE NOT u.cached), 0) INTO staged, pushed
    FROM uploads u WHERE u.tenant_id = t AND u.state IN ('open', 'sealed');
  IF most >= 0 AND staged + more > most THEN
    RAISE EXCEPTION 'too much is staged' USING ERRCODE = 'check_violation', CONSTRAINT = 'uploads_in_bounds';
  END IF;
  IF (room IS NOT NULL AND CASE WHEN is_cached THEN staged ELSE pushed END + more > room) THEN
    RAISE EXCEPTION 'more is staged than the quota has room for' USING ERRCODE = 'check_violation', CONSTRAINT = 'uploads_in_quota';
  END IF;
END;
$$;
-- +goose StatementEnd

-- What is there already. Writers wait meanwhile, in the order of their own locks;
-- readers do not.
-- +goose StatementBegin
DO $$
BEGIN
  LOCK TABLE repositories IN EXCLUSIVE MODE;
  LOCK TABLE blobs, repo_blobs, tags, manifests, cache_tags, name_claims, usage IN SHARE ROW EXCLUSIVE MODE;

  UPDATE blobs b SET cached = true
    FROM (SELECT DISTINCT rb.tenant_id, rb.digest
            FROM registries g
            JOIN repositories r ON r.tenant_id = g.tenant_id AND r.registry_id = g.id
            JOIN repo_blobs rb ON rb.tenant_id = r.tenant_id AND rb.repo_id = r.id
           WHERE g.upstream_id IS NOT NULL) fetched
   WHERE b.tenant_id = fetched.tenant_id AND b.digest = fetched.digest AND NOT b.cached
     AND NOT EXISTS (SELECT 1 FROM repo_blobs rb WHERE rb.tenant_id = b.tenant_id AND rb.digest = b.digest AND NOT berth_is_cached(rb.tenant_id, rb.repo_id));

  UPDATE usage u SET overhead = sums.cost, cached = sums.cached
    FROM (SELECT t.id,
                 coalesce(sum(c.cost), 0)::bigint AS cost,
                 coalesce(sum(c.cost + c.bytes) FILTER (WHERE c.is_cached), 0)::bigint AS cached
            FROM tenants t
            LEFT JOIN (
                 SELECT tenant_id, cached AS is_cached, 512 * count(*) AS cost, sum(size) AS bytes FROM blobs GROUP BY 1, 2
                 UNION ALL
                 SELECT m.tenant_id, g.upstream_id IS NOT NULL, sum(1024 + m.size + 512 * coalesce(m.refs, 0)), 0
                   FROM manifests m
                   JOIN repositories r ON r.tenant_id = m.tenant_id AND r.id = m.repo_id
                   JOIN registries g ON g.tenant_id = r.tenant_id AND g.id = r.registry_id GROUP BY 1, 2
                 UNION ALL
                 SELECT r.tenant_id, g.upstream_id IS NOT NULL, 2048 * count(*), 0
                   FROM repositories r JOIN registries g ON g.tenant_id = r.tenant_id AND g.id = r.registry_id GROUP BY 1, 2
                 UNION ALL
                 SELECT tenant_id, false, 512 * count(*), 0 FROM tags GROUP BY 1
                 UNION ALL
                 SELECT tenant_id, true, 512 * count(*), 0 FROM cache_tags GROUP BY 1
                 UNION ALL
                 SELECT tenant_id, false, 512 * count(*), 0 FROM name_claims GROUP BY 1) c ON c.tenant_id = t.id
           GROUP BY t.id) sums
   WHERE u.tenant_id = sums.id AND (u.overhead <> sums.cost OR u.cached <> sums.cached);
END;
$$;
-- +goose StatementEnd
