-- The people of identity providers, each with the account that stands for the person. What a
-- provider said of a person's groups has an age.

-- +goose Up
CREATE TABLE account_identities (
  tenant_id        INTEGER NOT NULL,
  account_id       INTEGER NOT NULL,
  provider_id      INTEGER NOT NULL,  -- negative: of a provider that was deleted
  subject          TEXT    NOT NULL,  -- the person's, which stays
  login_name       TEXT    NOT NULL,  -- at the provider
  directory_groups TEXT    NOT NULL CHECK (json_valid(directory_groups)),
  groups_until     INTEGER NOT NULL,  -- when they count no more
  read_at          INTEGER NOT NULL,  -- when the provider said so
  seen_at          INTEGER NOT NULL,  -- the last login with a password
  due_at           INTEGER,           -- when the provider is asked again; NULL = at the next login
  ended_at         INTEGER,           -- when the provider disabled or removed the person; NULL = it did not
  PRIMARY KEY (tenant_id, account_id),
  CONSTRAINT account_identities_by_subject UNIQUE (tenant_id, provider_id, subject),
  FOREIGN KEY (tenant_id, account_id) REFERENCES accounts (tenant_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX account_identities_by_provider ON account_identities (provider_id, due_at);
CREATE INDEX account_identities_due         ON account_identities (due_at);
