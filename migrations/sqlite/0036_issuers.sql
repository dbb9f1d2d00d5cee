-- People of OpenID Connect issuers: the refresh tokens by which the issuers are asked again, and
-- the logins in browsers that have ended, of which each counts once.

-- +goose Up
ALTER TABLE account_identities ADD COLUMN refresh_token    BLOB;     -- sealed; NULL = none
ALTER TABLE account_identities ADD COLUMN refresh_tried_at INTEGER;  -- since when the issuer may have replaced it; NULL = it has not

CREATE TABLE finished_logins (
  hash    BLOB    NOT NULL PRIMARY KEY CHECK (length(hash) = 32),  -- SHA-256 of the state
  ends_at INTEGER NOT NULL                                         -- when the login would have ended by itself
) STRICT, WITHOUT ROWID;
CREATE INDEX finished_logins_by_end ON finished_logins (ends_at);
