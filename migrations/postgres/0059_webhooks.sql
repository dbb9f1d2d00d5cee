-- Webhooks tell servers of a tenant of its events (docs/protocol.md, section 19).

-- +goose Up
CREATE TABLE webhooks (
  tenant_id       bigint      NOT NULL REFERENCES tenants (id),
  id              uuid        NOT NULL,  -- a later one of the same slug has another
  slug            text COLLATE "C" NOT NULL,
  url             text        NOT NULL,
  display_name    text        NOT NULL,
  disabled        boolean     NOT NULL,
  body            json        NOT NULL,  -- its format, which events it is for, and why it is disabled
  secret          bytea       NOT NULL,  -- sealed
  previous_secret bytea,                 -- sealed; signs too, until previous_until
  previous_until  timestamptz,
  version         bigint      NOT NULL,
  created_at      timestamptz NOT NULL,
  updated_at      timestamptz NOT NULL,
  CONSTRAINT webhooks_by_slug PRIMARY KEY (tenant_id, slug),
  CONSTRAINT webhooks_by_id UNIQUE (tenant_id, id)
);

CREATE TABLE webhook_queues (     -- a transaction that makes deliveries of a tenant's events locks its row
  tenant_id bigint PRIMARY KEY
);

CREATE TABLE webhook_deliveries ( -- one row per event and webhook; its columns are frozen but for those of its attempts
  tenant_id    bigint      NOT NULL,
  webhook_id   uuid        NOT NULL,
  id           bigint      GENERATED ALWAYS AS IDENTITY,
  op           uuid        NOT NULL,  -- of the event
  verb         text        NOT NULL,
  target       text        NOT NULL,
  content_type text        NOT NULL,
  body         text        NOT NULL,
  created_at   timestamptz NOT NULL,
  state        text        NOT NULL CHECK (state IN ('pending', 'delivered', 'dead')),
  due          timestamptz NOT NULL,  -- of a pending one: it is tried from then on; a claim moves it
  until        timestamptz NOT NULL,  -- a pending one is dead from then on, another one is deleted
  claim        uuid,                  -- of the last attempt, which records its result by it
  attempts     bigint      NOT NULL,  -- with a result
  tried_at     timestamptz,
  status       bigint      NOT NULL,  -- of the last answer; 0 = none
  failure      text        NOT NULL,
  response     text        NOT NULL,  -- the beginning of the last answer
  PRIMARY KEY (tenant_id, webhook_id, id)
);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (tenant_id, webhook_id, due, id) WHERE state = 'pending';
CREATE INDEX webhook_deliveries_until ON webhook_deliveries (until);

CREATE TABLE webhook_delivery_tags ( -- the tags that the event of a pending delivery names
  tenant_id   bigint NOT NULL,
  webhook_id  uuid   NOT NULL,
  tag         text COLLATE "C" NOT NULL, -- 'registries/dev/repositories/app:v1'
  delivery_id bigint NOT NULL,
  PRIMARY KEY (tenant_id, webhook_id, tag, delivery_id)
);
CREATE INDEX webhook_delivery_tags_of ON webhook_delivery_tags (tenant_id, webhook_id, delivery_id);

-- The operation of the event that says so; NULL: an older node moved it.
ALTER TABLE tag_history ADD COLUMN op uuid;

-- The deliveries of the event have yet to be made.
ALTER TABLE events ADD COLUMN hooked boolean NOT NULL DEFAULT false;
