-- Access rules say which principals may do what where. A tenant's access_version grows
-- with each change of one of them, so that nodes know which rules count.

-- +goose Up
ALTER TABLE tenants ADD COLUMN access_version INTEGER NOT NULL DEFAULT 0;

CREATE TABLE access_rules (
  tenant_id    INTEGER NOT NULL REFERENCES tenants (id),
  slug         TEXT    NOT NULL,
  display_name TEXT    NOT NULL,
  disabled     INTEGER NOT NULL CHECK (disabled IN (0, 1)),
  body         TEXT    NOT NULL CHECK (json_valid(body)),  -- what it gives or takes, to whom and where
  expires_at   INTEGER,                                    -- NULL = never
  version      INTEGER NOT NULL,
  created_at   INTEGER NOT NULL,
  updated_at   INTEGER NOT NULL,
  PRIMARY KEY (tenant_id, slug)
) STRICT, WITHOUT ROWID;
