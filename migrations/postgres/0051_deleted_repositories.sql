-- +goose NO TRANSACTION

-- A repository that was deleted can be restored until expire_at (docs/protocol.md,
-- section 12): state is 'deleted' until then, which no statement of an older node looks
-- for, and 'deleting' while it is removed. Every step can be run again.

-- +goose Up
ALTER TABLE repositories ADD COLUMN IF NOT EXISTS deleted_at timestamptz;
ALTER TABLE repositories ADD COLUMN IF NOT EXISTS expire_at timestamptz;
ALTER TABLE repositories DROP CONSTRAINT IF EXISTS repositories_state_check, DROP CONSTRAINT IF EXISTS repositories_state_known;
ALTER TABLE repositories ADD CONSTRAINT repositories_state_known CHECK (state IN ('active', 'deleted', 'deleting')) NOT VALID;
ALTER TABLE repositories VALIDATE CONSTRAINT repositories_state_known;

DROP INDEX CONCURRENTLY IF EXISTS repositories_expiring;
CREATE INDEX CONCURRENTLY repositories_expiring ON repositories (expire_at) WHERE state = 'deleted';
DROP INDEX CONCURRENTLY IF EXISTS repositories_deleted;
CREATE INDEX CONCURRENTLY repositories_deleted ON repositories (tenant_id, registry_id, name, id) WHERE state = 'deleted';
DROP INDEX CONCURRENTLY IF EXISTS repositories_gone;
CREATE INDEX CONCURRENTLY repositories_gone ON repositories (tenant_id, expire_at) WHERE state <> 'active' AND expire_at IS NOT NULL;

-- What only repositories that were deleted stand for, and is not removed yet. It reads
-- 20,000 links at most, and as many manifests and tags: what is beyond counts as live.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION berth_deleted(t bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  bytes bigint;
BEGIN
  IF NOT EXISTS (SELECT 1 FROM repositories r WHERE r.tenant_id = t AND r.state <> 'active' AND r.expire_at IS NOT NULL) THEN
    RETURN 0;
  END IF;
  WITH gone AS MATERIALIZED (
    SELECT r.id FROM repositories r WHERE r.tenant_id = t AND r.state <> 'active' AND r.expire_at IS NOT NULL ORDER BY r.expire_at LIMIT 20000
  ), linked AS MATERIALIZED (
    SELECT l.digest
      FROM gone CROSS JOIN LATERAL (SELECT rb.digest FROM repo_blobs rb WHERE rb.tenant_id = t AND rb.repo_id = gone.id OFFSET 0) AS l
     LIMIT 20000
  ), charged (cost) AS (
    SELECT 2048 FROM gone
    UNION ALL
    SELECT 1024 + m.size + 512 * m.refs
      FROM (SELECT n.size, coalesce(n.refs, 0) AS refs
              FROM gone CROSS JOIN LATERAL (SELECT x.size, x.refs FROM manifests x WHERE x.tenant_id = t AND x.repo_id = gone.id OFFSET 0) AS n
             LIMIT 20000) AS m
    UNION ALL
    SELECT 512
      FROM (SELECT 1 FROM gone CROSS JOIN LATERAL (SELECT 1 FROM tags x WHERE x.tenant_id = t AND x.repo_id = gone.id OFFSET 0) AS g LIMIT 20000) AS n
    UNION ALL
    SELECT b.size + 512
      FROM (SELECT DISTINCT linked.digest FROM linked) AS d
     CROSS JOIN LATERAL (SELECT x.size FROM blobs x WHERE x.tenant_id = t AND x.digest = d.digest AND NOT x.trash AND NOT x.cached OFFSET 0) AS b
     WHERE NOT berth_is_live(t, d.digest)
  )
  SELECT coalesce(sum(charged.cost), 0) INTO bytes FROM charged;
  RETURN bytes;
END;
$$;
-- +goose StatementEnd

-- Whether a hosted repository that is not deleted links a blob, and no delete released
-- that link.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION berth_is_live(t bigint, d bytea) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  RETURN EXISTS (
    SELECT 1 FROM repo_blobs rb
     WHERE rb.tenant_id = t AND rb.digest = d AND NOT rb.trashed
       AND (SELECT r.state = 'active' FROM repositories r WHERE r.tenant_id = t AND r.id = rb.repo_id)
       AND NOT berth_is_cached(t, rb.repo_id));
END;
$$;
-- +goose StatementEnd

-- As in 0046. For what is pushed, deleted repositories are trash as well.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION berth_room(t bigint, with_cached boolean) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
  u usage;
  deleted bigint := 0;
BEGIN
  SELECT * INTO u FROM usage WHERE usage.tenant_id = t AND usage.lim > 0;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  IF NOT with_cached AND u.used + u.overhead - u.cached - least(u.trash, u.lim) > u.lim THEN
    deleted := berth_deleted(t);
  END IF;
  IF (u.used + u.overhead - CASE WHEN with_cached THEN 0 ELSE u.cached + least(u.trash + deleted, u.lim) END > u.lim) THEN
    RAISE EXCEPTION 'the quota is used up' USING ERRCODE = 'check_violation', CONSTRAINT = 'usage_in_limit';
  END IF;
  RETURN u.used + u.overhead - u.cached > u.lim
     AND (u.trash > 0 OR EXISTS (SELECT 1 FROM repositories r WHERE r.tenant_id = t AND r.state = 'deleted'));
END;
$$;
-- +goose StatementEnd

-- As in 0046.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION berth_staged(t bigint, is_cached boolean, more bigint, most bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  u      usage;
  room   bigint;
  staged bigint;
  pushed bigint;
BEGIN
  SELECT * INTO u FROM usage WHERE usage.tenant_id = t AND usage.lim > 0 FOR NO KEY UPDATE;
  room := u.lim - u.used - u.overhead + CASE WHEN is_cached THEN 0 ELSE u.cached + least(u.trash, u.lim) END;
  SELECT coalesce(sum(x.off), 0), coalesce(sum(x.off) FILTER (WHERE NOT x.cached), 0) INTO staged, pushed
    FROM uploads x WHERE x.tenant_id = t AND x.state IN ('open', 'sealed');
  IF most >= 0 AND staged + more > most THEN
    RAISE EXCEPTION 'too much is staged' USING ERRCODE = 'check_violation', CONSTRAINT = 'uploads_in_bounds';
  END IF;
  IF room IS NOT NULL AND NOT is_cached AND pushed + more > room THEN
    room := u.lim - u.used - u.overhead + u.cached + least(u.trash + berth_deleted(t), u.lim);
  END IF;
  IF (room IS NOT NULL AND CASE WHEN is_cached THEN staged ELSE pushed END + more > room) THEN
    RAISE EXCEPTION 'more is staged than the quota has room for' USING ERRCODE = 'check_violation', CONSTRAINT = 'uploads_in_quota';
  END IF;
END;
$$;
-- +goose StatementEnd

-- As in 0015.
-- +goose StatementBegin
DO $$
BEGIN
  IF EXISTS (SELECT FROM tenants) THEN
    RETURN;
  END IF;
  INSERT INTO tenants (id, slug, display_name, state, epoch, version, created_at, updated_at) OVERRIDING SYSTEM VALUE
  VALUES (-1, 'statistics', '', 'active', 1, 1, now(), now());
  INSERT INTO registries (tenant_id, id, slug, settings, state, version, created_at, updated_at) OVERRIDING SYSTEM VALUE
  VALUES (-1, -1, 'statistics', '{}', 'active', 1, now(), now());
  INSERT INTO repositories (tenant_id, id, registry_id, name, state, listed, created_at, deleted_at, expire_at) OVERRIDING SYSTEM VALUE
  SELECT -1, -i, -1, 'statistics-' || i, CASE WHEN i % 10 = 0 THEN 'deleted' ELSE 'active' END, i % 10 <> 0, now(),
         CASE WHEN i % 10 = 0 THEN now() END, CASE WHEN i % 10 = 0 THEN now() END
    FROM generate_series(1, 220) i;
  ANALYZE repositories;
  DELETE FROM repositories WHERE tenant_id = -1;
  DELETE FROM registries WHERE tenant_id = -1;
  DELETE FROM tenants WHERE id = -1;
END;
$$;
-- +goose StatementEnd
