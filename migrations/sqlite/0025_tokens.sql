-- Refresh tokens get tokens of the data port for an account, until they expire, are ended,
-- or the account's tokens are revoked. The signing keys that were made before keys_due are
-- replaced.

-- +goose Up
CREATE TABLE refresh_tokens (
  tenant_id      INTEGER NOT NULL,
  account_id     INTEGER NOT NULL,
  name           TEXT    NOT NULL,
  hash           BLOB    NOT NULL CHECK (length(hash) = 32),  -- SHA-256 of the token
  key_name       TEXT    NOT NULL,                            -- that it was got with, and ends with; empty = a password
  seed           BLOB    NOT NULL,                            -- of one that was got with a key: the same login gets the same token
  client_id      TEXT    NOT NULL,                            -- the client's name for itself
  created_at     INTEGER NOT NULL,
  created_from   TEXT    NOT NULL,                            -- the client's address
  last_used_at   INTEGER NOT NULL,
  last_used_from TEXT    NOT NULL,
  expires_at     INTEGER NOT NULL,
  PRIMARY KEY (tenant_id, account_id, name),
  FOREIGN KEY (tenant_id, account_id) REFERENCES accounts (tenant_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX refresh_tokens_by_hash ON refresh_tokens (hash);
CREATE INDEX refresh_tokens_by_end  ON refresh_tokens (expires_at);

ALTER TABLE deployment ADD COLUMN keys_due INTEGER;  -- NULL = none was asked for
