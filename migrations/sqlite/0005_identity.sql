-- +goose Up

-- Which deployment this is: one row. The blob store carries the same, and is
-- never ahead of it.
CREATE TABLE deployment (
  one        INTEGER PRIMARY KEY CHECK (one = 1),
  id         BLOB    NOT NULL CHECK (length(id) = 16),
  generation INTEGER NOT NULL CHECK (generation >= 0),  -- raised by each start
  created_at INTEGER NOT NULL,
  raised_at  INTEGER NOT NULL
) STRICT;
