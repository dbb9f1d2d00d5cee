-- Tag rules protect tags from being overwritten, or deleted.

-- +goose Up
CREATE TABLE tag_rules (
  tenant_id    INTEGER NOT NULL REFERENCES tenants (id),
  slug         TEXT    NOT NULL,
  registry     TEXT    NOT NULL,  -- the slug of the one it is for; empty = all of the tenant
  display_name TEXT    NOT NULL,
  disabled     INTEGER NOT NULL CHECK (disabled IN (0, 1)),
  body         TEXT    NOT NULL CHECK (json_valid(body)),  -- which tags it protects, and from what
  version      INTEGER NOT NULL,
  created_at   INTEGER NOT NULL,
  updated_at   INTEGER NOT NULL,
  PRIMARY KEY (tenant_id, slug)
) STRICT, WITHOUT ROWID;
