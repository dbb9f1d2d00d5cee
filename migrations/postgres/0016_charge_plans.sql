-- What the charges cost a push: a function in SQL is planned anew each time that a
-- trigger calls it, one in PL/pgSQL once a session. And a link of a hosted
-- repository to a blob that counts as hosted changes nothing. SQLite deletes
-- manifests of thousands of references in steps; Postgres needs none, since no
-- other write waits for it.

-- +goose Up

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION berth_is_cached(t bigint, repo bigint) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN coalesce((SELECT g.upstream_id IS NOT NULL
                     FROM repositories r JOIN registries g ON g.tenant_id = r.tenant_id AND g.id = r.registry_id
                    WHERE r.tenant_id = t AND r.id = repo), false);
END;
$$;
-- +goose StatementEnd

-- As in 0011, but for what changes nothing. Where the link is gone by now, the
-- trigger of its deletion decides.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION berth_charge_link() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  l    repo_blobs := CASE WHEN TG_OP = 'INSERT' THEN NEW ELSE OLD END;
  was  boolean;
  now_ boolean;
  cost bigint;
BEGIN
  SELECT b.cached, b.size + 512 INTO was, cost FROM blobs b WHERE b.tenant_id = l.tenant_id AND b.digest = l.digest FOR NO KEY UPDATE;
  IF NOT FOUND OR TG_OP = 'INSERT' AND NOT was AND NOT berth_is_cached(l.tenant_id, l.repo_id) THEN
    RETURN NULL;
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
