-- What may be used of a tenant's registries within a second and at once.

-- +goose Up
ALTER TABLE tenants ADD COLUMN rate_limits json NOT NULL DEFAULT '{}';  -- of the tenant, and of each caller
