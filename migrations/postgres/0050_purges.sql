-- +goose NO TRANSACTION

-- The purge of a digest in a whole tenant (docs/protocol.md, section 12). Every step can
-- be run again.

-- +goose Up
CREATE TABLE IF NOT EXISTS digest_purges ( -- those that are running
  tenant_id bigint      NOT NULL,
  digest    bytea       NOT NULL,
  op        uuid        NOT NULL,
  force     boolean     NOT NULL,          -- live manifests go, too
  cause     json        NOT NULL,          -- who asked for it
  began_at  timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, digest),
  FOREIGN KEY (tenant_id) REFERENCES tenants (id)
);

CREATE TABLE IF NOT EXISTS purged_digests ( -- what a running one has ended, and what that named
  tenant_id bigint  NOT NULL,
  purge     bytea   NOT NULL,
  repo_id   bigint  NOT NULL,
  digest    bytea   NOT NULL,
  manifest  boolean NOT NULL,
  PRIMARY KEY (tenant_id, purge, manifest, repo_id, digest),
  FOREIGN KEY (tenant_id, purge) REFERENCES digest_purges (tenant_id, digest) ON DELETE CASCADE
);

-- Of condemned objects: the digest of their blob, and the purge that ended it.
ALTER TABLE objects ADD COLUMN IF NOT EXISTS digest bytea;
ALTER TABLE objects ADD COLUMN IF NOT EXISTS purge bytea;
DROP INDEX CONCURRENTLY IF EXISTS objects_by_digest;
CREATE INDEX CONCURRENTLY objects_by_digest ON objects (tenant_id, digest) WHERE digest IS NOT NULL;
DROP INDEX CONCURRENTLY IF EXISTS objects_by_purge;
CREATE INDEX CONCURRENTLY objects_by_purge ON objects (tenant_id, purge) WHERE purge IS NOT NULL;
DROP INDEX CONCURRENTLY IF EXISTS tag_history_by_manifest;
CREATE INDEX CONCURRENTLY tag_history_by_manifest ON tag_history (tenant_id, repo_id, manifest) WHERE manifest IS NOT NULL;
DROP INDEX CONCURRENTLY IF EXISTS tag_history_by_previous;
CREATE INDEX CONCURRENTLY tag_history_by_previous ON tag_history (tenant_id, repo_id, previous) WHERE previous IS NOT NULL;

-- Also where an older node condemns it. The row of the blob is locked, so that only one
-- transaction reaches its object.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION berth_name_object() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE objects SET digest = OLD.digest WHERE tenant_id = OLD.tenant_id AND incarnation = OLD.incarnation;
  RETURN NULL;
END;
$$;
-- +goose StatementEnd
DROP TRIGGER IF EXISTS blobs_name_object ON blobs;
CREATE TRIGGER blobs_name_object AFTER DELETE ON blobs FOR EACH ROW EXECUTE FUNCTION berth_name_object();
DROP TRIGGER IF EXISTS blobs_name_replaced ON blobs;
CREATE TRIGGER blobs_name_replaced AFTER UPDATE OF incarnation ON blobs
  FOR EACH ROW WHEN (OLD.incarnation <> NEW.incarnation) EXECUTE FUNCTION berth_name_object();

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
  INSERT INTO repositories (tenant_id, id, registry_id, name, state, listed, created_at) OVERRIDING SYSTEM VALUE
  VALUES (-1, -1, -1, 'statistics', 'active', true, now());
  INSERT INTO objects (tenant_id, incarnation, state, cached, created_at, delete_after, digest, purge)
  SELECT -1, gen_random_uuid(), s.state, i % 20 = 0, now(), CASE WHEN s.state = 'D' THEN now() END,
         CASE WHEN s.state = 'D' THEN sha256(i::text::bytea) END, CASE WHEN i % 100 = 0 THEN sha256('') END
    FROM generate_series(1, 600) i, LATERAL (SELECT CASE WHEN i % 10 = 0 THEN 'D' WHEN i % 10 = 1 THEN 'S' ELSE 'L' END::"char" AS state) s;
  INSERT INTO tag_history (tenant_id, repo_id, name, version, manifest, previous, verb, actor, at)
  SELECT -1, -1, 'v' || i / 3, i, sha256(i::text::bytea), sha256((i - 1)::text::bytea), 'push', '', now() FROM generate_series(1, 300) i;
  ANALYZE objects, tag_history;
  DELETE FROM tag_history WHERE tenant_id = -1;
  DELETE FROM objects WHERE tenant_id = -1;
  DELETE FROM repositories WHERE id = -1;
  DELETE FROM registries WHERE id = -1;
  DELETE FROM tenants WHERE id = -1;
END;
$$;
-- +goose StatementEnd
