-- +goose NO TRANSACTION

-- Users are accounts of their own kind, which may have a password. An account's epoch
-- grows whenever the tokens issued for it before must not count any more; revocations
-- tell the nodes. A row about a key concerns the tokens issued for that key alone. Nodes
-- lock tenants before accounts, so no statement here keeps the lock of another. Every one
-- can be run again.

-- +goose Up
ALTER TABLE accounts
  ADD COLUMN IF NOT EXISTS kind     text   NOT NULL DEFAULT 'service',  -- or 'user'
  ADD COLUMN IF NOT EXISTS password text,                               -- argon2id in PHC form; NULL = none
  ADD COLUMN IF NOT EXISTS epoch    bigint NOT NULL DEFAULT 0;

ALTER TABLE tenants ADD COLUMN IF NOT EXISTS no_passwords boolean NOT NULL DEFAULT false;  -- clients log in with keys only

ALTER TABLE account_keys
  ADD COLUMN IF NOT EXISTS description    text NOT NULL DEFAULT '',
  ADD COLUMN IF NOT EXISTS last_used_at   timestamptz,  -- NULL = not since this column came
  ADD COLUMN IF NOT EXISTS last_used_from text;         -- the client's address

CREATE TABLE IF NOT EXISTS revocations (
  tenant_id  bigint      NOT NULL REFERENCES tenants (id),
  account_id bigint      NOT NULL,           -- which may be deleted
  key_name   text COLLATE "C" NOT NULL,      -- empty = all tokens of the account
  epoch      bigint      NOT NULL,           -- the least that counts
  at         timestamptz NOT NULL,
  CONSTRAINT revocations_by_account PRIMARY KEY (tenant_id, account_id, key_name)
);
CREATE INDEX IF NOT EXISTS revocations_by_time ON revocations (at);
