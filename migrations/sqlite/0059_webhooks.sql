-- Webhooks tell servers of a tenant of its events (docs/protocol.md, section 19).

-- +goose Up
CREATE TABLE webhooks (
  tenant_id       INTEGER NOT NULL REFERENCES tenants (id),
  id              BLOB    NOT NULL CHECK (length(id) = 16),  -- a later one of the same slug has another
  slug            TEXT    NOT NULL,
  url             TEXT    NOT NULL,
  display_name    TEXT    NOT NULL,
  disabled        INTEGER NOT NULL CHECK (disabled IN (0, 1)),
  body            TEXT    NOT NULL CHECK (json_valid(body)),  -- its format, which events it is for, and why it is disabled
  secret          BLOB    NOT NULL,  -- sealed
  previous_secret BLOB,              -- sealed; signs too, until previous_until
  previous_until  INTEGER,
  version         INTEGER NOT NULL,
  created_at      INTEGER NOT NULL,
  updated_at      INTEGER NOT NULL,
  PRIMARY KEY (tenant_id, slug),
  UNIQUE (tenant_id, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE webhook_queues (     -- a transaction that makes deliveries of a tenant's events locks its row
  tenant_id INTEGER PRIMARY KEY
) STRICT;

CREATE TABLE webhook_deliveries ( -- one row per event and webhook; its columns are frozen but for those of its attempts
  id           INTEGER PRIMARY KEY AUTOINCREMENT,
  tenant_id    INTEGER NOT NULL,
  webhook_id   BLOB    NOT NULL CHECK (length(webhook_id) = 16),
  op           BLOB    NOT NULL CHECK (length(op) = 16),  -- of the event
  verb         TEXT    NOT NULL,
  target       TEXT    NOT NULL,
  content_type TEXT    NOT NULL,
  body         TEXT    NOT NULL,
  created_at   INTEGER NOT NULL,
  state        TEXT    NOT NULL CHECK (state IN ('pending', 'delivered', 'dead')),
  due          INTEGER NOT NULL,  -- of a pending one: it is tried from then on; a claim moves it
  until        INTEGER NOT NULL,  -- a pending one is dead from then on, another one is deleted
  claim        BLOB    CHECK (length(claim) = 16),  -- of the last attempt, which records its result by it
  attempts     INTEGER NOT NULL,  -- with a result
  tried_at     INTEGER,
  status       INTEGER NOT NULL,  -- of the last answer; 0 = none
  failure      TEXT    NOT NULL,
  response     TEXT    NOT NULL,  -- the beginning of the last answer
  UNIQUE (tenant_id, webhook_id, id)
) STRICT;
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (tenant_id, webhook_id, due, id) WHERE state = 'pending';
CREATE INDEX webhook_deliveries_until ON webhook_deliveries (until);

CREATE TABLE webhook_delivery_tags ( -- the tags that the event of a pending delivery names
  tenant_id   INTEGER NOT NULL,
  webhook_id  BLOB    NOT NULL CHECK (length(webhook_id) = 16),
  tag         TEXT    NOT NULL,  -- 'registries/dev/repositories/app:v1'
  delivery_id INTEGER NOT NULL,
  PRIMARY KEY (tenant_id, webhook_id, tag, delivery_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX webhook_delivery_tags_of ON webhook_delivery_tags (tenant_id, webhook_id, delivery_id);

-- The operation of the event that says so; NULL: an older version moved it.
ALTER TABLE tag_history ADD COLUMN op BLOB;

-- The deliveries of the event have yet to be made.
ALTER TABLE events ADD COLUMN hooked INTEGER NOT NULL DEFAULT 0;
