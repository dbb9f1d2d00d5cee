-- The scrub: one walk of the janitors over all live objects, and what it found damaged.

-- +goose Up
CREATE TABLE scrub (               -- of the deployment, not of a tenant
  one                INTEGER PRIMARY KEY CHECK (one = 1),
  state              TEXT    NOT NULL CHECK (state IN ('idle', 'running', 'stopped')),
  round              INTEGER NOT NULL,  -- grows with each round that begins
  started_at         INTEGER,           -- of the round
  ended_at           INTEGER NOT NULL,  -- of the last whole round, or when the row was made: the next round is due an interval later
  cursor_tenant      INTEGER NOT NULL,  -- the last object that was examined
  cursor_incarnation BLOB    NOT NULL CHECK (length(cursor_incarnation) = 16),
  objects            INTEGER NOT NULL,
  bytes              INTEGER NOT NULL,
  total              INTEGER,           -- bytes of all blobs when the round began
  found              INTEGER NOT NULL,
  repaired           INTEGER NOT NULL,
  worker             BLOB CHECK (length(worker) = 16),  -- the janitor that walks, until claimed_until
  claimed_until      INTEGER
) STRICT;

CREATE TABLE damaged_objects (     -- objects that were reported; of those that a blob still has, the blob is suspect
  tenant_id   INTEGER NOT NULL,
  incarnation BLOB    NOT NULL CHECK (length(incarnation) = 16),
  damage      TEXT    NOT NULL CHECK (damage IN ('lost', 'rotten')),
  found_at    INTEGER NOT NULL,
  PRIMARY KEY (tenant_id, incarnation),
  FOREIGN KEY (tenant_id, incarnation) REFERENCES objects (tenant_id, incarnation) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX blobs_suspect ON blobs (tenant_id, incarnation) WHERE suspect = 1;
