-- +goose NO TRANSACTION

-- What was only ever cached is deleted soon after its eviction, and counts as a part
-- of the cache until then: blobs.hosted is set once a hosted repository has linked
-- the blob, and stays. Of older rows that is not known, so they count as hosted, as
-- do those of nodes of the version before. Every step can be run again.

-- +goose Up
ALTER TABLE blobs ADD COLUMN IF NOT EXISTS hosted boolean NOT NULL DEFAULT true;
-- Set on condemned objects of blobs that were never hosted.
ALTER TABLE objects ADD COLUMN IF NOT EXISTS cached boolean NOT NULL DEFAULT false;
DROP INDEX CONCURRENTLY IF EXISTS objects_evicted;
CREATE INDEX CONCURRENTLY objects_evicted ON objects (size) WHERE state = 'D' AND cached;

-- As in 0015.
-- +goose StatementBegin
DO $$
BEGIN
  IF EXISTS (SELECT FROM tenants) THEN
    RETURN;
  END IF;
  INSERT INTO objects (tenant_id, incarnation, state, cached, created_at, delete_after)
  SELECT -1, gen_random_uuid(), s.state, i % 20 = 0, now(), CASE WHEN s.state = 'D' THEN now() END
    FROM generate_series(1, 200) i, LATERAL (SELECT CASE WHEN i % 10 = 0 THEN 'D' WHEN i % 10 = 1 THEN 'S' ELSE 'L' END::"char" AS state) s;
  ANALYZE objects;
  DELETE FROM objects WHERE tenant_id = -1;
END;
$$;
-- +goose StatementEnd

-- As in 0016, and a hosted link marks the blob.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION berth_charge_link() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  l     repo_blobs := CASE WHEN TG_OP = 'INSERT' THEN NEW ELSE OLD END;
  was   boolean;
  known boolean;
  now_  boolean;
  cost  bigint;
BEGIN
  SELECT b.cached, b.hosted, b.size + 512 INTO was, known, cost FROM blobs b WHERE b.tenant_id = l.tenant_id AND b.digest = l.digest FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    RETURN NULL;
  END IF;
  IF TG_OP = 'INSERT' AND (NOT was OR NOT known) AND NOT berth_is_cached(l.tenant_id, l.repo_id) THEN
    IF NOT known THEN
      UPDATE blobs SET hosted = true WHERE tenant_id = l.tenant_id AND digest = l.digest;
    END IF;
    IF NOT was THEN
      RETURN NULL;
    END IF;
  END IF;
  IF NOT EXISTS (SELECT 1 FROM repo_blobs rb WHERE rb.tenant_id = l.tenant_id AND rb.digest = l.digest) THEN
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
