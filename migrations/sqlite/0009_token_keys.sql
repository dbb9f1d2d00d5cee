-- Keys that sign tokens, with the private part sealed. signing_keys, where they
-- lay open, is for versions before: the first process that issues tokens moves
-- them here. What a program of a version before puts there later is moved, too.

-- +goose Up

CREATE TABLE token_keys (         -- of the deployment, not of a tenant
  id         TEXT    PRIMARY KEY,
  algorithm  TEXT    NOT NULL,
  public     BLOB    NOT NULL,    -- all that verifying takes
  sealed     BLOB    NOT NULL,    -- the private part, sealed with secret_key; empty while it lies open in signing_keys
  created_at INTEGER NOT NULL,    -- published
  signs_from INTEGER NOT NULL,
  retired_at INTEGER              -- NULL = no end is set
) STRICT, WITHOUT ROWID;
