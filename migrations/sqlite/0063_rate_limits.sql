-- What may be used of a tenant's registries within a second and at once.

-- +goose Up
ALTER TABLE tenants ADD COLUMN rate_limits TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(rate_limits));  -- of the tenant, and of each caller
