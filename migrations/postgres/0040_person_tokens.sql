-- Access tokens of people of the operator's identity providers. They belong to the person, not to
-- an account, and count in every tenant that the provider is offered to.

-- +goose Up
CREATE TABLE person_tokens (
  provider_id    bigint      NOT NULL,           -- of the operator's
  subject        text COLLATE "C" NOT NULL,      -- the person's there
  name           text COLLATE "C" NOT NULL,
  hash           bytea       NOT NULL CHECK (length(hash) = 32),  -- SHA-256 of the token
  login_name     text        NOT NULL,           -- the person's when the token was made
  description    text        NOT NULL,
  created_at     timestamptz NOT NULL,
  expires_at     timestamptz NOT NULL,
  last_used_at   timestamptz,                    -- NULL = never
  last_used_from text,                           -- the client's address
  CONSTRAINT person_tokens_by_name PRIMARY KEY (provider_id, subject, name)
);
CREATE UNIQUE INDEX person_tokens_by_hash ON person_tokens (hash);
CREATE INDEX account_identities_by_person ON account_identities (provider_id, subject);
