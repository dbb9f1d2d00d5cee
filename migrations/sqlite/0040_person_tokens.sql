-- Access tokens of people of the operator's identity providers. They belong to the person, not to
-- an account, and count in every tenant that the provider is offered to.

-- +goose Up
CREATE TABLE person_tokens (
  provider_id    INTEGER NOT NULL,  -- of the operator's
  subject        TEXT    NOT NULL,  -- the person's there
  name           TEXT    NOT NULL,
  hash           BLOB    NOT NULL CHECK (length(hash) = 32),  -- SHA-256 of the token
  login_name     TEXT    NOT NULL,  -- the person's when the token was made
  description    TEXT    NOT NULL,
  created_at     INTEGER NOT NULL,
  expires_at     INTEGER NOT NULL,
  last_used_at   INTEGER,           -- NULL = never
  last_used_from TEXT,              -- the client's address
  PRIMARY KEY (provider_id, subject, name)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX person_tokens_by_hash ON person_tokens (hash);
CREATE INDEX account_identities_by_person ON account_identities (provider_id, subject);
