-- Groups of accounts, which access rules name. Members are names of principals: no row of
-- another table has that name, and an account's rows go with it in the same transaction.

-- +goose Up
CREATE TABLE principal_groups (
  tenant_id    INTEGER NOT NULL REFERENCES tenants (id),
  slug         TEXT    NOT NULL,
  display_name TEXT    NOT NULL,
  version      INTEGER NOT NULL,
  created_at   INTEGER NOT NULL,
  updated_at   INTEGER NOT NULL,
  CONSTRAINT principal_groups_by_slug PRIMARY KEY (tenant_id, slug)
) STRICT, WITHOUT ROWID;

CREATE TABLE group_members (
  tenant_id  INTEGER NOT NULL,
  member     TEXT    NOT NULL,  -- 'users/alice'
  group_slug TEXT    NOT NULL,
  PRIMARY KEY (tenant_id, member, group_slug),
  FOREIGN KEY (tenant_id, group_slug) REFERENCES principal_groups (tenant_id, slug) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX group_members_by_group ON group_members (tenant_id, group_slug);
