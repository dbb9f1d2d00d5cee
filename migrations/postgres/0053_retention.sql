-- Retention policies, and the last run of each (docs/protocol.md, section 16). A node of
-- the version before runs none.

-- +goose Up
CREATE TABLE retention_policies (
  tenant_id    bigint      NOT NULL REFERENCES tenants (id),
  slug         text COLLATE "C" NOT NULL,
  registry     text COLLATE "C" NOT NULL,  -- the slug of the one it is for; empty = all of the tenant
  display_name text        NOT NULL,
  disabled     boolean     NOT NULL,
  enforced     boolean     NOT NULL,       -- else it only says what it would delete
  body         json        NOT NULL,       -- its rules, and what they are for
  version      bigint      NOT NULL,
  created_at   timestamptz NOT NULL,
  updated_at   timestamptz NOT NULL,
  CONSTRAINT retention_policies_by_slug PRIMARY KEY (tenant_id, slug)
);

CREATE TABLE retention_runs (
  tenant_id    bigint      NOT NULL,
  slug         text COLLATE "C" NOT NULL,
  number       bigint      NOT NULL,       -- of the run; 0 = there was none
  due_at       timestamptz,                -- when the next one begins; of a run: when another worker may continue it
  worker       uuid,                       -- that has the run
  enforced     boolean     NOT NULL,       -- the mode of the run
  began_at     timestamptz,                -- as of when it decides
  ended_at     timestamptz,                -- NULL while it runs
  registry     text COLLATE "C" NOT NULL,  -- of the last repository that it is through with
  repository   text COLLATE "C" NOT NULL,
  repositories bigint      NOT NULL,       -- that were evaluated
  deletions    bigint      NOT NULL,       -- of tags and of manifests with their tags, that were done or would be
  tags         bigint      NOT NULL,       -- in them
  manifests    bigint      NOT NULL,       -- in them
  bytes        bigint      NOT NULL,       -- of them
  protected    bigint      NOT NULL,       -- tags that a tag rule protects
  refused      bigint      NOT NULL,       -- deletions that what happened since the evaluation prevented
  limited      boolean     NOT NULL,       -- it ended at its limit
  failure      text        NOT NULL,       -- why it could not continue, the last time
  PRIMARY KEY (tenant_id, slug),
  FOREIGN KEY (tenant_id, slug) REFERENCES retention_policies (tenant_id, slug) ON DELETE CASCADE
);
CREATE INDEX retention_runs_due ON retention_runs (due_at) WHERE due_at IS NOT NULL;
