-- Trusts let jobs log in as a service account by tokens of an issuer.

-- +goose Up
CREATE TABLE account_trusts (
  tenant_id      INTEGER NOT NULL,
  account_id     INTEGER NOT NULL,
  name           TEXT    NOT NULL,
  issuer         TEXT    NOT NULL,
  audiences      TEXT    NOT NULL,  -- JSON list; [] = the host that is asked
  condition      TEXT    NOT NULL,  -- CEL
  description    TEXT    NOT NULL,
  created_at     INTEGER NOT NULL,
  expires_at     INTEGER,           -- NULL = never
  last_used_at   INTEGER,           -- NULL = never
  last_used_from TEXT,              -- the client's address
  PRIMARY KEY (tenant_id, account_id, name),
  FOREIGN KEY (tenant_id, account_id) REFERENCES accounts (tenant_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
