-- What tags pointed to, and who moved them.

-- +goose Up
CREATE TABLE tag_history (
  tenant_id bigint      NOT NULL,
  repo_id   bigint      NOT NULL,
  name      text COLLATE "C" NOT NULL,
  version   bigint      NOT NULL,  -- of the tag from then on
  manifest  bytea,                 -- NULL = it was deleted
  previous  bytea,                 -- NULL = it was not there
  verb      text        NOT NULL,
  actor     text        NOT NULL,
  at        timestamptz NOT NULL,
  CONSTRAINT tag_history_by_version PRIMARY KEY (tenant_id, repo_id, name, version),
  FOREIGN KEY (tenant_id, repo_id) REFERENCES repositories (tenant_id, id)
);
CREATE INDEX tag_history_by_time ON tag_history (at);
