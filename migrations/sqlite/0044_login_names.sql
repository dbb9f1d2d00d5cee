-- People are found by the names that they log in with, however those are written.

-- +goose Up
ALTER TABLE account_identities ADD COLUMN login_key TEXT NOT NULL DEFAULT '';  -- login_name as names are compared
UPDATE account_identities SET login_key = lower(login_name);
CREATE INDEX account_identities_by_name ON account_identities (tenant_id, login_key, provider_id, login_name);
