-- Pull rules say what an image must have to be pulled (docs/protocol.md, section 17).

-- +goose Up
CREATE TABLE pull_rules (
  tenant_id    bigint      NOT NULL REFERENCES tenants (id),
  slug         text COLLATE "C" NOT NULL,
  registry     text COLLATE "C" NOT NULL,  -- the slug of the one that is pulled from; empty = all of the tenant
  display_name text        NOT NULL,
  disabled     boolean     NOT NULL,
  body         json        NOT NULL,       -- which pulls it is for, its mode, and what images need
  version      bigint      NOT NULL,
  created_at   timestamptz NOT NULL,
  updated_at   timestamptz NOT NULL,
  CONSTRAINT pull_rules_by_slug PRIMARY KEY (tenant_id, slug)
);

-- Grows with each change of the pull rules of a tenant; 0: it never had one.
ALTER TABLE tenants ADD COLUMN pull_rules_version bigint NOT NULL DEFAULT 0;
