-- The people of identity providers, each with the account that stands for the person. What a
-- provider said of a person's groups has an age.

-- +goose Up
CREATE TABLE account_identities (
  tenant_id        bigint      NOT NULL,
  account_id       bigint      NOT NULL,
  provider_id      bigint      NOT NULL,           -- negative: of a provider that was deleted
  subject          text COLLATE "C" NOT NULL,      -- the person's, which stays
  login_name       text        NOT NULL,           -- at the provider
  directory_groups json        NOT NULL,
  groups_until     timestamptz NOT NULL,           -- when they count no more
  read_at          timestamptz NOT NULL,           -- when the provider said so
  seen_at          timestamptz NOT NULL,           -- the last login with a password
  due_at           timestamptz,                    -- when the provider is asked again; NULL = at the next login
  ended_at         timestamptz,                    -- when the provider disabled or removed the person; NULL = it did not
  CONSTRAINT account_identities_by_account PRIMARY KEY (tenant_id, account_id),
  CONSTRAINT account_identities_by_subject UNIQUE (tenant_id, provider_id, subject),
  FOREIGN KEY (tenant_id, account_id) REFERENCES accounts (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX account_identities_by_provider ON account_identities (provider_id, due_at);
CREATE INDEX account_identities_due         ON account_identities (due_at);
