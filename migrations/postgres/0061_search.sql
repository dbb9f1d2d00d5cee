-- The index of what a tenant's repositories hold (docs/protocol.md, section 18). Triggers
-- write down what changed, also by an older node's hand; the janitor indexes it, and what
-- was there before.

-- +goose Up
CREATE TABLE search_changes (       -- what is to be indexed again; no two transactions write the same row
  tenant_id bigint NOT NULL,
  id        bigint GENERATED ALWAYS AS IDENTITY,
  repo_id   bigint NOT NULL,
  tag       text COLLATE "C",       -- NULL: of a manifest
  digest    bytea,                  -- NULL: of a tag
  PRIMARY KEY (tenant_id, id)
);

CREATE TABLE search_entries (       -- a term of a repository, a tag or a manifest
  tenant_id bigint   NOT NULL,
  kind      smallint NOT NULL,      -- meta.SearchKind
  term      text COLLATE "C" NOT NULL,
  repo_id   bigint   NOT NULL,
  subject   text COLLATE "C" NOT NULL,  -- the tag; @ and the hexadecimal digest; empty = the repository
  digest    bytea,                  -- of a manifest
  PRIMARY KEY (tenant_id, kind, term, repo_id, subject)
);
CREATE INDEX search_entries_by_subject ON search_entries (tenant_id, repo_id, subject);

CREATE TABLE search_terms (         -- those of the entries, each once, that can be found by a part of them
  tenant_id bigint    NOT NULL,
  kind      smallint  NOT NULL,
  term      text COLLATE "C" NOT NULL,
  grams     integer[] NOT NULL,     -- hashes of tenant, kind and three characters
  PRIMARY KEY (tenant_id, kind, term)
);
CREATE INDEX search_terms_by_gram ON search_terms USING gin (grams) WITH (gin_pending_list_limit = 256);

CREATE TABLE search_grams (         -- how many terms have one
  tenant_id bigint  NOT NULL,
  gram      integer NOT NULL,
  terms     bigint  NOT NULL,
  PRIMARY KEY (tenant_id, gram)
) WITH (fillfactor = 50);

CREATE TABLE search_progress (      -- of the deployment, not of a tenant; locked by each step of the indexer
  one           integer PRIMARY KEY CHECK (one = 1),
  phase         text   NOT NULL CHECK (phase IN ('entries', 'tags', 'manifests', 'done')),
  cursor_tenant bigint NOT NULL,    -- the last row of the phase that was indexed
  cursor_repo   bigint NOT NULL,
  cursor_tag    text COLLATE "C" NOT NULL,
  cursor_digest bytea  NOT NULL
);

-- Terms by their grams, of all tenants that have the same ones by chance: never a walk
-- through the table, whatever its statistics say.
-- +goose StatementBegin
CREATE FUNCTION berth_search_terms(wanted integer[])
RETURNS TABLE (tenant_id bigint, kind smallint, term text)
LANGUAGE plpgsql STABLE SET enable_seqscan = off SET plan_cache_mode = force_custom_plan AS $$
BEGIN
  RETURN QUERY SELECT s.tenant_id, s.kind, s.term FROM search_terms s WHERE s.grams @> wanted;
END;
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION berth_search_tag() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'DELETE' THEN
    INSERT INTO search_changes (tenant_id, repo_id, tag) VALUES (OLD.tenant_id, OLD.repo_id, OLD.name);
  ELSE
    INSERT INTO search_changes (tenant_id, repo_id, tag) VALUES (NEW.tenant_id, NEW.repo_id, NEW.name);
  END IF;
  RETURN NULL;
END;
$$;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE FUNCTION berth_search_manifest() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'DELETE' THEN
    INSERT INTO search_changes (tenant_id, repo_id, digest) VALUES (OLD.tenant_id, OLD.repo_id, OLD.digest);
  ELSE
    INSERT INTO search_changes (tenant_id, repo_id, digest) VALUES (NEW.tenant_id, NEW.repo_id, NEW.digest);
  END IF;
  RETURN NULL;
END;
$$;
-- +goose StatementEnd

-- A tag that is moved keeps its entry.
CREATE TRIGGER tags_search_insert AFTER INSERT ON tags
  FOR EACH ROW WHEN (NEW.manifest IS NOT NULL) EXECUTE FUNCTION berth_search_tag();
CREATE TRIGGER tags_search_update AFTER UPDATE OF manifest ON tags
  FOR EACH ROW WHEN ((OLD.manifest IS NULL) <> (NEW.manifest IS NULL)) EXECUTE FUNCTION berth_search_tag();
CREATE TRIGGER tags_search_delete AFTER DELETE ON tags
  FOR EACH ROW WHEN (OLD.manifest IS NOT NULL) EXECUTE FUNCTION berth_search_tag();

-- Cached and provisional manifests have no entries.
CREATE TRIGGER manifests_search_insert AFTER INSERT ON manifests
  FOR EACH ROW WHEN (NEW.expire_at IS NULL) EXECUTE FUNCTION berth_search_manifest();
CREATE TRIGGER manifests_search_update AFTER UPDATE OF expire_at ON manifests
  FOR EACH ROW WHEN ((OLD.expire_at IS NULL) <> (NEW.expire_at IS NULL)) EXECUTE FUNCTION berth_search_manifest();
CREATE TRIGGER manifests_search_delete AFTER DELETE ON manifests
  FOR EACH ROW WHEN (OLD.expire_at IS NULL) EXECUTE FUNCTION berth_search_manifest();
