-- Prefetches name content of an upstream that is fetched before any client asks
-- (docs/protocol.md, section 21).

-- +goose Up
CREATE TABLE prefetches (
  tenant_id    INTEGER NOT NULL REFERENCES tenants (id),
  slug         TEXT    NOT NULL,
  upstream     TEXT    NOT NULL,  -- its slug
  display_name TEXT    NOT NULL,
  disabled     INTEGER NOT NULL CHECK (disabled IN (0, 1)),
  body         TEXT    NOT NULL CHECK (json_valid(body)),  -- what it fetches, and how often
  version      INTEGER NOT NULL,
  created_at   INTEGER NOT NULL,
  updated_at   INTEGER NOT NULL,
  PRIMARY KEY (tenant_id, slug)
) STRICT, WITHOUT ROWID;

CREATE TABLE prefetch_runs (
  tenant_id INTEGER NOT NULL,
  slug      TEXT    NOT NULL,
  number    INTEGER NOT NULL,  -- of the run; 0 = there was none
  due_at    INTEGER,           -- when the next one begins; of a run: when another worker may continue it
  worker    BLOB    CHECK (length(worker) = 16),  -- that has the run
  began_at  INTEGER,
  ended_at  INTEGER,           -- NULL while it runs
  listed    INTEGER NOT NULL CHECK (listed IN (0, 1)),   -- all of its references have rows
  limited   INTEGER NOT NULL CHECK (limited IN (0, 1)),  -- its patterns match more than a run fetches
  total     INTEGER NOT NULL,  -- references, once they are listed
  done      INTEGER NOT NULL,  -- references that are fetched
  failed    INTEGER NOT NULL,  -- references that could not be fetched
  bytes     INTEGER NOT NULL,  -- that were fetched for them
  failure   TEXT    NOT NULL,  -- why it could not continue, the last time
  PRIMARY KEY (tenant_id, slug),
  FOREIGN KEY (tenant_id, slug) REFERENCES prefetches (tenant_id, slug) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX prefetch_runs_due ON prefetch_runs (due_at) WHERE due_at IS NOT NULL;

CREATE TABLE prefetch_references ( -- of the last run
  tenant_id  INTEGER NOT NULL,
  slug       TEXT    NOT NULL,
  reference  TEXT    NOT NULL,  -- 'library/alpine:3.20'
  state      TEXT    NOT NULL CHECK (state IN ('pending', 'done', 'failed')),
  attempts   INTEGER NOT NULL,
  digest     TEXT    NOT NULL,  -- of the manifest that it was; empty before
  bytes      INTEGER NOT NULL,  -- that were fetched for it
  failure    TEXT    NOT NULL,  -- of the last attempt
  updated_at INTEGER NOT NULL,
  PRIMARY KEY (tenant_id, slug, reference),
  FOREIGN KEY (tenant_id, slug) REFERENCES prefetches (tenant_id, slug) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX prefetch_references_pending ON prefetch_references (tenant_id, slug, attempts, reference) WHERE state = 'pending';

-- As in 0002.
INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
  ('prefetches', 'prefetches', '10000 10 1'),
  ('prefetch_runs', 'prefetch_runs', '10000 10 1'),
  ('prefetch_runs', 'prefetch_runs_due', '10000 2'),
  ('prefetch_references', 'prefetch_references', '1000000 1000 100 1'),
  ('prefetch_references', 'prefetch_references_pending', '100000 1000 100 50 1');
ANALYZE sqlite_schema;
