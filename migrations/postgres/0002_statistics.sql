-- Statistics for a young database. Until its first ANALYZE the planner takes
-- every condition for one that leaves one row, so that all indexes that begin
-- with the tenant look alike to it, and a statement may go through all of a
-- repository for the one row that it names: slower with every push, until
-- autovacuum comes by. So the planner is shown 200 rows of each kind in one
-- repository of one tenant, which then go: what it has seen stays until the
-- first ANALYZE that finds rows. A database in use has seen its own.

-- +goose Up

-- +goose StatementBegin
DO $$
BEGIN
  IF EXISTS (SELECT FROM tenants) THEN
    RETURN;
  END IF;

  INSERT INTO tenants (id, slug, display_name, state, epoch, version, created_at, updated_at) OVERRIDING SYSTEM VALUE
  SELECT -i, 'statistics-' || i, '', 'active', 1, 1, now(), now() FROM generate_series(1, 200) i;
  INSERT INTO usage SELECT id, 0, 0 FROM tenants;
  INSERT INTO registries (tenant_id, id, slug, settings, state, version, created_at, updated_at) OVERRIDING SYSTEM VALUE
  SELECT -1, -i, 'statistics-' || i, '{}', 'active', 1, now(), now() FROM generate_series(1, 200) i;
  INSERT INTO domains SELECT -1, 'statistics-' || i, -1, true, '', 1, now() FROM generate_series(1, 200) i;
  INSERT INTO accounts (tenant_id, id, slug, display_name, role, disabled, version, created_at, updated_at) OVERRIDING SYSTEM VALUE
  SELECT -1, -i, 'statistics-' || i, '', 'READER', false, 1, now(), now() FROM generate_series(1, 200) i;
  INSERT INTO account_keys SELECT -1, -1, 'statistics-' || i, sha256(i::text::bytea), now(), NULL FROM generate_series(1, 200) i;
  INSERT INTO events (tenant_id, id, op, at, actor, verb, target, request_id) OVERRIDING SYSTEM VALUE
  SELECT -1, -i, gen_random_uuid(), now(), '', '', '', '' FROM generate_series(1, 200) i;

  INSERT INTO objects (tenant_id, incarnation, state, created_at, delete_after)
  SELECT -1, gen_random_uuid(), s.state, now(), CASE WHEN s.state = 'D' THEN now() END
    FROM generate_series(1, 200), unnest(ARRAY['S', 'L', 'D']::"char"[]) AS s (state);
  INSERT INTO blobs (tenant_id, digest, size, incarnation, keep_until)
  SELECT tenant_id, sha256(incarnation::text::bytea), 1, incarnation, CASE WHEN random() < 0.1 THEN now() END FROM objects WHERE state = 'L';

  INSERT INTO repositories (tenant_id, id, registry_id, name, state, listed, created_at) OVERRIDING SYSTEM VALUE
  SELECT -1, -i, -1, 'statistics-' || i, 'active', true, now() FROM generate_series(1, 200) i;
  INSERT INTO name_claims SELECT tenant_id, registry_id, name, now() FROM repositories;
  INSERT INTO repo_blobs SELECT b.tenant_id, r.id, b.digest, b.keep_until FROM blobs b, repositories r WHERE r.id > -5;
  INSERT INTO manifests (tenant_id, repo_id, digest, media_type, size, subject, artifact_type, annotations, created_at, payload)
  SELECT tenant_id, -1, digest, '', 1, CASE WHEN random() < 0.5 THEN sha256(digest) END, '', '{}', now(), '' FROM blobs;
  INSERT INTO manifest_blobs SELECT tenant_id, -1, digest, digest, -1 FROM blobs;
  INSERT INTO manifest_children SELECT tenant_id, repo_id, digest, digest FROM manifests;
  INSERT INTO tags SELECT tenant_id, repo_id, encode(digest, 'hex'), digest, 1 FROM manifests;
  INSERT INTO uploads (tenant_id, id, repo_id, state, epoch, off, algorithm, incarnation, tail, expires_at)
  SELECT tenant_id, gen_random_uuid(), -1, CASE WHEN random() < 0.1 THEN 'open' ELSE 'committed' END, 1, 1, '', incarnation, CASE WHEN random() < 0.5 THEN incarnation END, now() FROM objects WHERE state = 'S';
  INSERT INTO upload_parts SELECT u.tenant_id, u.id, n, 1, '' FROM (SELECT tenant_id, id FROM uploads LIMIT 1) u, generate_series(1, 200) n;

  ANALYZE tenants, usage, registries, domains, accounts, account_keys, events, objects, blobs, repositories, name_claims,
    repo_blobs, manifests, manifest_blobs, manifest_children, tags, uploads, upload_parts;

  DELETE FROM uploads;
  DELETE FROM tags;
  DELETE FROM manifests;
  DELETE FROM repo_blobs;
  DELETE FROM repositories;
  DELETE FROM blobs;
  DELETE FROM objects;
  DELETE FROM events;
  DELETE FROM accounts;
  DELETE FROM registries;
  DELETE FROM usage;
  DELETE FROM tenants;
END;
$$;
-- +goose StatementEnd
