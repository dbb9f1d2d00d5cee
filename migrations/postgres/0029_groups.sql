-- Groups of accounts, which access rules name. Members are names of principals: no row of
-- another table has that name, and an account's rows go with it in the same transaction.

-- +goose Up
CREATE TABLE IF NOT EXISTS principal_groups (
  tenant_id    bigint      NOT NULL REFERENCES tenants (id),
  slug         text COLLATE "C" NOT NULL,
  display_name text        NOT NULL,
  version      bigint      NOT NULL,
  created_at   timestamptz NOT NULL,
  updated_at   timestamptz NOT NULL,
  CONSTRAINT principal_groups_by_slug PRIMARY KEY (tenant_id, slug)
);

CREATE TABLE IF NOT EXISTS group_members (
  tenant_id  bigint NOT NULL,
  member     text COLLATE "C" NOT NULL,  -- 'users/alice'
  group_slug text COLLATE "C" NOT NULL,
  CONSTRAINT group_members_by_member PRIMARY KEY (tenant_id, member, group_slug),
  CONSTRAINT group_members_of_group FOREIGN KEY (tenant_id, group_slug) REFERENCES principal_groups (tenant_id, slug) ON DELETE CASCADE
);
CREATE INDEX IF NOT EXISTS group_members_by_group ON group_members (tenant_id, group_slug);
