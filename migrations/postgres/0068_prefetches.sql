-- Prefetches name content of an upstream that is fetched before any client asks
-- (docs/protocol.md, section 21). A node of the version before fetches none.

-- +goose Up
CREATE TABLE prefetches (
  tenant_id    bigint      NOT NULL REFERENCES tenants (id),
  slug         text COLLATE "C" NOT NULL,
  upstream     text COLLATE "C" NOT NULL,  -- its slug
  display_name text        NOT NULL,
  disabled     boolean     NOT NULL,
  body         json        NOT NULL,       -- what it fetches, and how often
  version      bigint      NOT NULL,
  created_at   timestamptz NOT NULL,
  updated_at   timestamptz NOT NULL,
  CONSTRAINT prefetches_by_slug PRIMARY KEY (tenant_id, slug)
);

CREATE TABLE prefetch_runs (
  tenant_id bigint  NOT NULL,
  slug      text COLLATE "C" NOT NULL,
  number    bigint  NOT NULL,       -- of the run; 0 = there was none
  due_at    timestamptz,            -- when the next one begins; of a run: when another worker may continue it
  worker    uuid,                   -- that has the run
  began_at  timestamptz,
  ended_at  timestamptz,            -- NULL while it runs
  listed    boolean NOT NULL,       -- all of its references have rows
  limited   boolean NOT NULL,       -- its patterns match more than a run fetches
  total     bigint  NOT NULL,       -- references, once they are listed
  done      bigint  NOT NULL,       -- references that are fetched
  failed    bigint  NOT NULL,       -- references that could not be fetched
  bytes     bigint  NOT NULL,       -- that were fetched for them
  failure   text    NOT NULL,       -- why it could not continue, the last time
  PRIMARY KEY (tenant_id, slug),
  FOREIGN KEY (tenant_id, slug) REFERENCES prefetches (tenant_id, slug) ON DELETE CASCADE
);
CREATE INDEX prefetch_runs_due ON prefetch_runs (due_at) WHERE due_at IS NOT NULL;

CREATE TABLE prefetch_references ( -- of the last run
  tenant_id  bigint      NOT NULL,
  slug       text COLLATE "C" NOT NULL,
  reference  text COLLATE "C" NOT NULL, -- 'library/alpine:3.20'
  state      text        NOT NULL CHECK (state IN ('pending', 'done', 'failed')),
  attempts   bigint      NOT NULL,
  digest     text        NOT NULL,      -- of the manifest that it was; empty before
  bytes      bigint      NOT NULL,      -- that were fetched for it
  failure    text        NOT NULL,      -- of the last attempt
  updated_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, slug, reference),
  FOREIGN KEY (tenant_id, slug) REFERENCES prefetches (tenant_id, slug) ON DELETE CASCADE
);
CREATE INDEX prefetch_references_pending ON prefetch_references (tenant_id, slug, attempts, reference) WHERE state = 'pending';
