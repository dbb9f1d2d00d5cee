-- Promotion gates say what an image must have to be promoted (docs/protocol.md, section 15).

-- +goose Up
CREATE TABLE promotion_gates (
  tenant_id    INTEGER NOT NULL REFERENCES tenants (id),
  slug         TEXT    NOT NULL,
  registry     TEXT    NOT NULL,  -- the slug of the one that is promoted to; empty = all of the tenant
  display_name TEXT    NOT NULL,
  disabled     INTEGER NOT NULL CHECK (disabled IN (0, 1)),
  body         TEXT    NOT NULL CHECK (json_valid(body)),  -- which promotions it is for, and what they need
  version      INTEGER NOT NULL,
  created_at   INTEGER NOT NULL,
  updated_at   INTEGER NOT NULL,
  PRIMARY KEY (tenant_id, slug)
) STRICT, WITHOUT ROWID;
