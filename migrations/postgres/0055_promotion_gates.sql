-- Promotion gates say what an image must have to be promoted (docs/protocol.md, section 15).

-- +goose Up
CREATE TABLE promotion_gates (
  tenant_id    bigint      NOT NULL REFERENCES tenants (id),
  slug         text COLLATE "C" NOT NULL,
  registry     text COLLATE "C" NOT NULL,  -- the slug of the one that is promoted to; empty = all of the tenant
  display_name text        NOT NULL,
  disabled     boolean     NOT NULL,
  body         json        NOT NULL,       -- which promotions it is for, and what they need
  version      bigint      NOT NULL,
  created_at   timestamptz NOT NULL,
  updated_at   timestamptz NOT NULL,
  CONSTRAINT promotion_gates_by_slug PRIMARY KEY (tenant_id, slug)
);
