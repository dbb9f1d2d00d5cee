-- Keys that sign tokens, with the private part sealed. signing_keys, where they
-- lay open, is for versions before: the first process that issues tokens moves
-- them here. What a node of a version before puts there later is moved, too.

-- +goose Up

CREATE TABLE token_keys (         -- of the deployment, not of a tenant
  id         text COLLATE "C" PRIMARY KEY,
  algorithm  text        NOT NULL,
  public     bytea       NOT NULL, -- all that verifying takes
  sealed     bytea       NOT NULL, -- the private part, sealed with secret_key; empty while it lies open in signing_keys
  created_at timestamptz NOT NULL, -- published
  signs_from timestamptz NOT NULL,
  retired_at timestamptz           -- NULL = no end is set
);
