-- +goose NO TRANSACTION

-- The scrub: one walk of the janitors over all live objects, and what it found damaged.
-- Every step can be run again.

-- +goose Up
CREATE TABLE IF NOT EXISTS scrub (               -- of the deployment, not of a tenant
  one                integer     PRIMARY KEY CHECK (one = 1),
  state              text        NOT NULL CHECK (state IN ('idle', 'running', 'stopped')),
  round              bigint      NOT NULL,  -- grows with each round that begins
  started_at         timestamptz,           -- of the round
  ended_at           timestamptz NOT NULL,  -- of the last whole round, or when the row was made: the next round is due an interval later
  cursor_tenant      bigint      NOT NULL,  -- the last object that was examined
  cursor_incarnation uuid        NOT NULL,
  objects            bigint      NOT NULL,
  bytes              bigint      NOT NULL,
  total              bigint,                -- bytes of all blobs when the round began
  found              bigint      NOT NULL,
  repaired           bigint      NOT NULL,
  worker             uuid,                  -- the janitor that walks, until claimed_until
  claimed_until      timestamptz
);

CREATE TABLE IF NOT EXISTS damaged_objects (     -- objects that were reported; of those that a blob still has, the blob is suspect
  tenant_id   bigint      NOT NULL,
  incarnation uuid        NOT NULL,
  damage      text        NOT NULL CHECK (damage IN ('lost', 'rotten')),
  found_at    timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, incarnation),
  FOREIGN KEY (tenant_id, incarnation) REFERENCES objects (tenant_id, incarnation) ON DELETE CASCADE
);
DROP INDEX CONCURRENTLY IF EXISTS blobs_suspect;
CREATE INDEX CONCURRENTLY blobs_suspect ON blobs (tenant_id, incarnation) WHERE suspect;

-- As in 0015.
-- +goose StatementBegin
DO $$
BEGIN
  IF EXISTS (SELECT FROM tenants) THEN
    RETURN;
  END IF;
  INSERT INTO objects (tenant_id, incarnation, state, cached, created_at, delete_after)
  SELECT -1, gen_random_uuid(), s.state, i % 20 = 0, now(), CASE WHEN s.state = 'D' THEN now() END
    FROM generate_series(1, 600) i, LATERAL (SELECT CASE WHEN i % 10 = 0 THEN 'D' WHEN i % 10 = 1 THEN 'S' ELSE 'L' END::"char" AS state) s;
  INSERT INTO blobs (tenant_id, digest, size, incarnation, keep_until, suspect)
  SELECT tenant_id, sha256(incarnation::text::bytea), 1, incarnation, CASE WHEN random() < 0.1 THEN now() END, random() < 0.1 FROM objects WHERE state = 'L';
  ANALYZE objects, blobs;
  DELETE FROM blobs WHERE tenant_id = -1;
  DELETE FROM objects WHERE tenant_id = -1;
END;
$$;
-- +goose StatementEnd
