-- A manifest whose referrers go with it goes at once; they go in steps, which the
-- rows here remember: what was deleted, and how far its referrers were looked at.
-- What is pushed meanwhile is kept.

-- +goose Up
CREATE TABLE referrer_deletions (
  tenant_id bigint NOT NULL,
  repo_id   bigint NOT NULL,
  op        uuid   NOT NULL,  -- of the request
  subject   bytea  NOT NULL,  -- deleted by it
  after     bytea  NOT NULL,  -- referrers up to this digest are done with
  PRIMARY KEY (tenant_id, repo_id, op, subject),
  FOREIGN KEY (tenant_id, repo_id) REFERENCES repositories (tenant_id, id) ON DELETE CASCADE
);

CREATE TABLE kept_referrers ( -- referrers that were pushed while such a deletion was under way
  tenant_id bigint NOT NULL,
  repo_id   bigint NOT NULL,
  op        uuid   NOT NULL,
  digest    bytea  NOT NULL,
  PRIMARY KEY (tenant_id, repo_id, op, digest),
  FOREIGN KEY (tenant_id, repo_id) REFERENCES repositories (tenant_id, id) ON DELETE CASCADE
);
