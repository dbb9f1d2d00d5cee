-- Trusts let jobs log in as a service account by tokens of an issuer.

-- +goose Up
CREATE TABLE IF NOT EXISTS account_trusts (
  tenant_id      bigint      NOT NULL,
  account_id     bigint      NOT NULL,
  name           text COLLATE "C" NOT NULL,
  issuer         text COLLATE "C" NOT NULL,
  audiences      text        NOT NULL,  -- JSON list; [] = the host that is asked
  condition      text        NOT NULL,  -- CEL
  description    text        NOT NULL,
  created_at     timestamptz NOT NULL,
  expires_at     timestamptz,           -- NULL = never
  last_used_at   timestamptz,           -- NULL = never
  last_used_from text,                  -- the client's address
  CONSTRAINT account_trusts_by_name PRIMARY KEY (tenant_id, account_id, name),
  CONSTRAINT account_trusts_of_account FOREIGN KEY (tenant_id, account_id) REFERENCES accounts (tenant_id, id) ON DELETE CASCADE
);
