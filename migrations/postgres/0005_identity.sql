-- +goose Up

-- Which deployment this is: one row. The blob store carries the same, and is
-- never ahead of it.
CREATE TABLE deployment (
  one        integer     PRIMARY KEY CHECK (one = 1),
  id         uuid        NOT NULL,
  generation bigint      NOT NULL CHECK (generation >= 0),  -- raised by each start
  created_at timestamptz NOT NULL,
  raised_at  timestamptz NOT NULL
);
