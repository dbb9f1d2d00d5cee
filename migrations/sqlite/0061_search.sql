-- The index of what a tenant's repositories hold (docs/protocol.md, section 18). Triggers
-- write down what changed; the janitor indexes it, and what was there before.

-- +goose Up
CREATE TABLE search_changes (       -- what is to be indexed again
  id        INTEGER PRIMARY KEY AUTOINCREMENT,
  tenant_id INTEGER NOT NULL,
  repo_id   INTEGER NOT NULL,
  tag       TEXT,                   -- NULL: of a manifest
  digest    BLOB,                   -- NULL: of a tag
  UNIQUE (tenant_id, id)
) STRICT;

CREATE TABLE search_entries (       -- a term of a repository, a tag or a manifest
  tenant_id INTEGER NOT NULL,
  kind      INTEGER NOT NULL,       -- meta.SearchKind
  term      TEXT    NOT NULL,
  repo_id   INTEGER NOT NULL,
  subject   TEXT    NOT NULL,       -- the tag; @ and the hexadecimal digest; empty = the repository
  digest    BLOB,                   -- of a manifest
  PRIMARY KEY (tenant_id, kind, term, repo_id, subject)
) STRICT, WITHOUT ROWID;
CREATE INDEX search_entries_by_subject ON search_entries (tenant_id, repo_id, subject);

CREATE TABLE search_terms (         -- those of the entries, each once, that can be found by a part of them
  id        INTEGER PRIMARY KEY AUTOINCREMENT,
  tenant_id INTEGER NOT NULL,
  kind      INTEGER NOT NULL,
  term      TEXT    NOT NULL,
  UNIQUE (tenant_id, kind, term)
) STRICT;
-- Words are hashes of tenant, kind and three characters of the term, in hexadecimal.
CREATE VIRTUAL TABLE search_trigrams USING fts5 (grams, content = '', contentless_delete = 1, detail = none, tokenize = 'ascii');

CREATE TABLE search_grams (         -- how many terms have one
  tenant_id INTEGER NOT NULL,
  gram      INTEGER NOT NULL,
  terms     INTEGER NOT NULL,
  PRIMARY KEY (tenant_id, gram)
) STRICT, WITHOUT ROWID;

CREATE TABLE search_progress (      -- of the deployment, not of a tenant
  one           INTEGER PRIMARY KEY CHECK (one = 1),
  phase         TEXT    NOT NULL CHECK (phase IN ('entries', 'tags', 'manifests', 'done')),
  cursor_tenant INTEGER NOT NULL,   -- the last row of the phase that was indexed
  cursor_repo   INTEGER NOT NULL,
  cursor_tag    TEXT    NOT NULL,
  cursor_digest BLOB    NOT NULL
) STRICT;

-- A tag that is moved keeps its entry.
-- +goose StatementBegin
CREATE TRIGGER tags_search_insert AFTER INSERT ON tags WHEN NEW.manifest IS NOT NULL
BEGIN
  INSERT INTO search_changes (tenant_id, repo_id, tag) VALUES (NEW.tenant_id, NEW.repo_id, NEW.name);
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER tags_search_update AFTER UPDATE OF manifest ON tags WHEN (OLD.manifest IS NULL) <> (NEW.manifest IS NULL)
BEGIN
  INSERT INTO search_changes (tenant_id, repo_id, tag) VALUES (NEW.tenant_id, NEW.repo_id, NEW.name);
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER tags_search_delete AFTER DELETE ON tags WHEN OLD.manifest IS NOT NULL
BEGIN
  INSERT INTO search_changes (tenant_id, repo_id, tag) VALUES (OLD.tenant_id, OLD.repo_id, OLD.name);
END;
-- +goose StatementEnd

-- Cached and provisional manifests have no entries.
-- +goose StatementBegin
CREATE TRIGGER manifests_search_insert AFTER INSERT ON manifests WHEN NEW.expire_at IS NULL
BEGIN
  INSERT INTO search_changes (tenant_id, repo_id, digest) VALUES (NEW.tenant_id, NEW.repo_id, NEW.digest);
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER manifests_search_update AFTER UPDATE OF expire_at ON manifests WHEN (OLD.expire_at IS NULL) <> (NEW.expire_at IS NULL)
BEGIN
  INSERT INTO search_changes (tenant_id, repo_id, digest) VALUES (NEW.tenant_id, NEW.repo_id, NEW.digest);
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER manifests_search_delete AFTER DELETE ON manifests WHEN OLD.expire_at IS NULL
BEGIN
  INSERT INTO search_changes (tenant_id, repo_id, digest) VALUES (OLD.tenant_id, OLD.repo_id, OLD.digest);
END;
-- +goose StatementEnd

-- As in 0002.
INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
  ('search_changes', 'sqlite_autoindex_search_changes_1', '1000 100 1'),
  ('search_entries', 'search_entries', '1000000 10000 1000 3 2 1'),
  ('search_entries', 'search_entries_by_subject', '1000000 10000 20 3'),
  ('search_terms', 'sqlite_autoindex_search_terms_1', '300000 3000 500 1'),
  ('search_grams', 'search_grams', '300000 3000 1');
ANALYZE sqlite_schema;
