-- People of tenants' providers, whose names no provider of the operator's has: while one of those
-- cannot be asked, they log in.

-- +goose Up
ALTER TABLE account_identities ADD COLUMN apart text COLLATE "C" NOT NULL DEFAULT '';  -- a digest of the name and of the providers that do not have it; '' = it is not known
