-- Pull rules say what an image must have to be pulled (docs/protocol.md, section 17).

-- +goose Up
CREATE TABLE pull_rules (
  tenant_id    INTEGER NOT NULL REFERENCES tenants (id),
  slug         TEXT    NOT NULL,
  registry     TEXT    NOT NULL,  -- the slug of the one that is pulled from; empty = all of the tenant
  display_name TEXT    NOT NULL,
  disabled     INTEGER NOT NULL CHECK (disabled IN (0, 1)),
  body         TEXT    NOT NULL CHECK (json_valid(body)),  -- which pulls it is for, its mode, and what images need
  version      INTEGER NOT NULL,
  created_at   INTEGER NOT NULL,
  updated_at   INTEGER NOT NULL,
  PRIMARY KEY (tenant_id, slug)
) STRICT, WITHOUT ROWID;

-- Grows with each change of the pull rules of a tenant; 0: it never had one.
ALTER TABLE tenants ADD COLUMN pull_rules_version INTEGER NOT NULL DEFAULT 0;
