-- What the audit log says more, and which events a sink has yet to get. The log of the
-- deployment itself is that of tenant 0.

-- +goose Up

ALTER TABLE events ADD COLUMN on_behalf TEXT NOT NULL DEFAULT '';      -- of whom the actor did it; empty for itself
ALTER TABLE events ADD COLUMN user_agent TEXT NOT NULL DEFAULT '';     -- of the client, clipped
ALTER TABLE events ADD COLUMN pending INTEGER NOT NULL DEFAULT 0;      -- a sink has yet to get it

CREATE TABLE audit_sinks (        -- one row while events are sent to a sink; without it none is pending
  name  TEXT    PRIMARY KEY,
  until INTEGER NOT NULL          -- a process renews it; past it, new events are not kept for it
) STRICT, WITHOUT ROWID;

CREATE INDEX events_pending ON events (id) WHERE pending;
