-- Users are accounts of their own kind, which may have a password. An account's epoch
-- grows whenever the tokens issued for it before must not count any more; revocations
-- tell the nodes. A row about a key concerns the tokens issued for that key alone.

-- +goose Up
ALTER TABLE accounts ADD COLUMN kind     TEXT    NOT NULL DEFAULT 'service';  -- or 'user'
ALTER TABLE accounts ADD COLUMN password TEXT;                                -- argon2id in PHC form; NULL = none
ALTER TABLE accounts ADD COLUMN epoch    INTEGER NOT NULL DEFAULT 0;

ALTER TABLE tenants ADD COLUMN no_passwords INTEGER NOT NULL DEFAULT 0 CHECK (no_passwords IN (0, 1));  -- clients log in with keys only

ALTER TABLE account_keys ADD COLUMN description    TEXT NOT NULL DEFAULT '';
ALTER TABLE account_keys ADD COLUMN last_used_at   INTEGER;  -- NULL = not since this column came
ALTER TABLE account_keys ADD COLUMN last_used_from TEXT;     -- the client's address

CREATE TABLE revocations (
  tenant_id  INTEGER NOT NULL REFERENCES tenants (id),
  account_id INTEGER NOT NULL,  -- which may be deleted
  key_name   TEXT    NOT NULL,  -- empty = all tokens of the account
  epoch      INTEGER NOT NULL,  -- the least that counts
  at         INTEGER NOT NULL,
  PRIMARY KEY (tenant_id, account_id, key_name)
) STRICT, WITHOUT ROWID;
CREATE INDEX revocations_by_time ON revocations (at);
