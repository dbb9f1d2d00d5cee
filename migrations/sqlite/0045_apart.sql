-- People of tenants' providers, whose names no provider of the operator's has: while one of those
-- cannot be asked, they log in.

-- +goose Up
ALTER TABLE account_identities ADD COLUMN apart TEXT NOT NULL DEFAULT '';  -- a digest of the name and of the providers that do not have it; '' = it is not known
DROP INDEX account_identities_by_name;
CREATE INDEX account_identities_by_name ON account_identities (tenant_id, login_key, provider_id, login_name, apart);
