-- Access rules say which principals may do what where. A tenant's access_version grows
-- with each change of one of them, so that nodes know which rules count.

-- +goose Up
ALTER TABLE tenants ADD COLUMN IF NOT EXISTS access_version bigint NOT NULL DEFAULT 0;

CREATE TABLE IF NOT EXISTS access_rules (
  tenant_id    bigint      NOT NULL REFERENCES tenants (id),
  slug         text COLLATE "C" NOT NULL,
  display_name text        NOT NULL,
  disabled     boolean     NOT NULL,
  body         json        NOT NULL,  -- what it gives or takes, to whom and where
  expires_at   timestamptz,           -- NULL = never
  version      bigint      NOT NULL,
  created_at   timestamptz NOT NULL,
  updated_at   timestamptz NOT NULL,
  CONSTRAINT access_rules_by_slug PRIMARY KEY (tenant_id, slug)
);
