-- What a delete removes can be restored for a while (docs/protocol.md, section 12). The
-- trash has tables of its own, so that no statement that reads or lists can see it, also
-- none of a node of the version before. Such a node deletes without trash.

-- +goose Up
CREATE TABLE trashed_manifests (
  tenant_id     bigint      NOT NULL,
  repo_id       bigint      NOT NULL,
  digest        bytea       NOT NULL,
  media_type    text        NOT NULL,
  size          bigint      NOT NULL,
  refs          integer     NOT NULL,
  subject       bytea,
  payload       bytea       NOT NULL,
  tags          json        NOT NULL,  -- that pointed to it
  children      json        NOT NULL,  -- that it held, in hexadecimal
  op            uuid        NOT NULL,  -- of the delete
  actor         text        NOT NULL,
  deleted_at    timestamptz NOT NULL,
  restore_until timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, repo_id, digest),
  FOREIGN KEY (tenant_id, repo_id) REFERENCES repositories (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX trashed_manifests_due ON trashed_manifests (restore_until);
CREATE INDEX trashed_manifests_oldest ON trashed_manifests (tenant_id, restore_until);
CREATE INDEX trashed_manifests_referrers ON trashed_manifests (tenant_id, repo_id, subject, digest) WHERE subject IS NOT NULL;

CREATE TABLE trashed_blobs ( -- what they held
  tenant_id bigint NOT NULL,
  repo_id   bigint NOT NULL,
  manifest  bytea  NOT NULL,
  digest    bytea  NOT NULL,
  PRIMARY KEY (tenant_id, repo_id, manifest, digest),
  FOREIGN KEY (tenant_id, repo_id, manifest) REFERENCES trashed_manifests (tenant_id, repo_id, digest) ON DELETE CASCADE,
  FOREIGN KEY (tenant_id, repo_id, digest) REFERENCES repo_blobs (tenant_id, repo_id, digest)
);
CREATE INDEX trashed_blobs_by_blob ON trashed_blobs (tenant_id, repo_id, digest);

-- A delete released the link, and no live manifest holds it.
ALTER TABLE repo_blobs ADD COLUMN trashed boolean NOT NULL DEFAULT false;
-- A hosted repository links the blob, and each such link is trashed.
ALTER TABLE blobs ADD COLUMN trash boolean NOT NULL DEFAULT false;
-- The part of used and overhead that only deleted content stands for.
ALTER TABLE usage ADD COLUMN trash bigint NOT NULL DEFAULT 0;

-- An older node knows no trash: it unlinks nothing that the trash holds, but for a
-- repository that is gone for good.
-- +goose StatementBegin
CREATE FUNCTION berth_keep_trashed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NOT EXISTS (SELECT 1 FROM trashed_blobs m WHERE m.tenant_id = OLD.tenant_id AND m.repo_id = OLD.repo_id AND m.digest = OLD.digest) THEN
    RETURN OLD;
  END IF;
  IF EXISTS (SELECT 1 FROM repositories r WHERE r.tenant_id = OLD.tenant_id AND r.id = OLD.repo_id AND r.state = 'deleting') THEN
    DELETE FROM trashed_blobs m WHERE m.tenant_id = OLD.tenant_id AND m.repo_id = OLD.repo_id AND m.digest = OLD.digest;
    RETURN OLD;
  END IF;
  RETURN NULL;
END;
$$;
-- +goose StatementEnd
CREATE TRIGGER repo_blobs_keep_trashed BEFORE DELETE ON repo_blobs FOR EACH ROW EXECUTE FUNCTION berth_keep_trashed();

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION berth_charge_blob() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    UPDATE usage SET overhead = overhead + 512 WHERE tenant_id = NEW.tenant_id;
  ELSE
    UPDATE usage SET overhead = overhead - 512,
           cached = cached - CASE WHEN OLD.cached THEN OLD.size + 512 ELSE 0 END,
           trash = trash - CASE WHEN OLD.trash THEN OLD.size + 512 ELSE 0 END
     WHERE tenant_id = OLD.tenant_id;
  END IF;
  RETURN NULL;
END;
$$;
-- +goose StatementEnd

-- As in 0017. A blob is live where a hosted link is not trashed, else trash where a
-- hosted link exists, else cached where any exists, else what it was.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION berth_charge_link() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  l          repo_blobs := CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
  b          blobs;
  in_trash   boolean := false;
  now_cached boolean := false;
BEGIN
  SELECT * INTO b FROM blobs WHERE blobs.tenant_id = l.tenant_id AND blobs.digest = l.digest FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    RETURN NULL;
  END IF;
  IF TG_OP = 'INSERT' AND NOT (b.hosted AND (b.cached OR b.trash)) AND NOT berth_is_cached(l.tenant_id, l.repo_id) THEN
    IF NOT b.hosted THEN
      UPDATE blobs SET hosted = true WHERE tenant_id = l.tenant_id AND digest = l.digest;
    END IF;
    IF NOT b.cached AND NOT b.trash THEN
      RETURN NULL;
    END IF;
  END IF;
  IF NOT EXISTS (SELECT 1 FROM repo_blobs rb WHERE rb.tenant_id = l.tenant_id AND rb.digest = l.digest) THEN
    RETURN NULL;
  END IF;
  IF NOT EXISTS (SELECT 1 FROM repo_blobs rb WHERE rb.tenant_id = l.tenant_id AND rb.digest = l.digest AND NOT rb.trashed AND NOT berth_is_cached(rb.tenant_id, rb.repo_id)) THEN
    in_trash := EXISTS (SELECT 1 FROM repo_blobs rb WHERE rb.tenant_id = l.tenant_id AND rb.digest = l.digest AND rb.trashed AND NOT berth_is_cached(rb.tenant_id, rb.repo_id));
    now_cached := NOT in_trash;
  END IF;
  IF b.cached <> now_cached OR b.trash <> in_trash THEN
    UPDATE blobs SET cached = now_cached, trash = in_trash WHERE tenant_id = l.tenant_id AND digest = l.digest;
    UPDATE usage SET cached = usage.cached + (now_cached::int - b.cached::int) * (b.size + 512),
           trash = usage.trash + (in_trash::int - b.trash::int) * (b.size + 512)
     WHERE tenant_id = l.tenant_id;
  END IF;
  RETURN NULL;
END;
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION berth_charge_trash() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  m    trashed_manifests := CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
  cost bigint := (1024 + m.size + 512 * m.refs) * CASE WHEN TG_OP = 'DELETE' THEN -1 ELSE 1 END;
BEGIN
  UPDATE usage SET overhead = overhead + cost, trash = trash + cost WHERE tenant_id = m.tenant_id;
  RETURN NULL;
END;
$$;
-- +goose StatementEnd

CREATE CONSTRAINT TRIGGER repo_blobs_trash AFTER UPDATE OF trashed ON repo_blobs
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (OLD.trashed <> NEW.trashed) EXECUTE FUNCTION berth_charge_link();
CREATE CONSTRAINT TRIGGER trashed_manifests_charge AFTER INSERT OR DELETE ON trashed_manifests
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION berth_charge_trash();

-- What must fit into the quota: for what is cached, all; for pushes, what is live.
-- What was deleted and is not removed yet may take as much again. True where a push
-- leaves no room for all of it.
-- +goose StatementBegin
CREATE FUNCTION berth_room(t bigint, with_cached boolean) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
  u usage;
BEGIN
  SELECT * INTO u FROM usage WHERE usage.tenant_id = t AND usage.lim > 0;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  IF (u.used + u.overhead - CASE WHEN with_cached THEN 0 ELSE u.cached + least(u.trash, u.lim) END > u.lim) THEN
    RAISE EXCEPTION 'the quota is used up' USING ERRCODE = 'check_violation', CONSTRAINT = 'usage_in_limit';
  END IF;
  RETURN u.trash > 0 AND u.used + u.overhead - u.cached > u.lim;
END;
$$;
-- +goose StatementEnd

-- Of older nodes.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION berth_quota(t bigint, with_cached boolean) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  PERFORM berth_room(t, with_cached);
END;
$$;
-- +goose StatementEnd

-- As in 0011, but for the trash.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION berth_staged(t bigint, is_cached boolean, more bigint, most bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  room   bigint;
  staged bigint;
  pushed bigint;
BEGIN
  SELECT u.lim - u.used - u.overhead + CASE WHEN is_cached THEN 0 ELSE u.cached + least(u.trash, u.lim) END INTO room
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

-- As in 0002.
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
  INSERT INTO objects (tenant_id, incarnation, state, created_at) SELECT -1, gen_random_uuid(), 'L', now() FROM generate_series(1, 200);
  INSERT INTO blobs (tenant_id, digest, size, incarnation) SELECT tenant_id, sha256(incarnation::text::bytea), 1, incarnation FROM objects WHERE tenant_id = -1;
  INSERT INTO repo_blobs (tenant_id, repo_id, digest) SELECT tenant_id, -1, digest FROM blobs WHERE tenant_id = -1;
  INSERT INTO trashed_manifests
  SELECT tenant_id, -1, digest, '', 1, 1, CASE WHEN random() < 0.5 THEN sha256(digest) END, '', '[]', '[]', incarnation, '', now(), now() FROM blobs WHERE tenant_id = -1;
  INSERT INTO trashed_blobs SELECT tenant_id, repo_id, digest, digest FROM trashed_manifests;
  ANALYZE trashed_manifests, trashed_blobs;
  DELETE FROM trashed_manifests;
  DELETE FROM repo_blobs WHERE tenant_id = -1;
  DELETE FROM repositories WHERE tenant_id = -1;
  DELETE FROM blobs WHERE tenant_id = -1;
  DELETE FROM objects WHERE tenant_id = -1;
  DELETE FROM registries WHERE tenant_id = -1;
  DELETE FROM tenants WHERE id = -1;
END;
$$;
-- +goose StatementEnd
