-- Tag rules protect tags from being overwritten, or deleted.

-- +goose Up
CREATE TABLE tag_rules (
  tenant_id    bigint      NOT NULL REFERENCES tenants (id),
  slug         text COLLATE "C" NOT NULL,
  registry     text COLLATE "C" NOT NULL,  -- the slug of the one it is for; empty = all of the tenant
  display_name text        NOT NULL,
  disabled     boolean     NOT NULL,
  body         json        NOT NULL,       -- which tags it protects, and from what
  version      bigint      NOT NULL,
  created_at   timestamptz NOT NULL,
  updated_at   timestamptz NOT NULL,
  CONSTRAINT tag_rules_by_slug PRIMARY KEY (tenant_id, slug)
);
