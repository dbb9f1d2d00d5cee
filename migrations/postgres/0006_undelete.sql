-- A tenant or registry that was deleted can be taken back until expire_at. Then
-- the janitor sets that to NULL and removes the content: what is deleting
-- without expire_at never comes back, as all that the versions before deleted.
-- While a node of the version before is at work, it removes the content at once.

-- +goose Up

ALTER TABLE tenants ADD COLUMN expire_at timestamptz;
ALTER TABLE tenants ADD COLUMN was_suspended boolean NOT NULL DEFAULT false;
ALTER TABLE registries ADD COLUMN deleted_at timestamptz;
ALTER TABLE registries ADD COLUMN expire_at timestamptz;
-- Set while the domain's registry or tenant is deleted: verify it again when that
-- comes back, unless somebody else verified the host meanwhile.
ALTER TABLE domains ADD COLUMN was_verified boolean NOT NULL DEFAULT false;
