-- What the query planner is to believe of the tables, in place of ANALYZE: that
-- tenants and repositories are large. Without it the planner takes an empty
-- store for the rule and walks all rows of a tenant where an index leads to
-- one, also in its own look-ups for foreign keys. Each row names an index (a
-- table WITHOUT ROWID is its own) and says how many rows there are, then how
-- many share the first column, the first two, and so on.

-- +goose Up
ANALYZE;
DELETE FROM sqlite_stat1;
INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
  ('tenants', 'tenants_by_slug', '1000 1'),
  ('tenants', 'tenants_tombstones', '1000 1 1'),
  ('tenants', 'tenants_deleting', '10 1'),
  ('registries', 'sqlite_autoindex_registries_1', '3000 3 1'),
  ('registries', 'sqlite_autoindex_registries_2', '3000 3 1'),
  ('registries', 'registries_deleting', '10 1'),
  ('domains', 'domains', '3000 3 1'),
  ('domains', 'domains_routing', '3000 1'),
  ('domains', 'domains_by_registry', '3000 3 1'),
  ('accounts', 'sqlite_autoindex_accounts_1', '10000 10 1'),
  ('accounts', 'sqlite_autoindex_accounts_2', '10000 10 1'),
  ('account_keys', 'account_keys', '20000 20 2 1'),
  ('account_keys', 'account_keys_by_hash', '20000 1'),
  ('events', 'sqlite_autoindex_events_1', '10000000 10000 1'),
  ('events', 'sqlite_autoindex_events_2', '10000000 10000 1'),
  ('objects', 'objects', '10000000 10000 1'),
  ('objects', 'sqlite_autoindex_objects_2', '10000000 10000 1 1'),
  ('objects', 'objects_due', '10000 1'),
  ('objects', 'objects_staged', '10000 1'),
  ('blobs', 'blobs', '10000000 10000 1'),
  ('blobs', 'blobs_by_object', '10000000 10000 1 1'),
  ('blobs', 'blobs_candidates', '100000 1'),
  ('repositories', 'sqlite_autoindex_repositories_1', '300000 300 1'),
  ('repositories', 'repositories_by_name', '300000 300 100 1'),
  ('repositories', 'repositories_listed', '300000 300 100 1'),
  ('repositories', 'repositories_by_registry', '300000 300 100'),
  ('repositories', 'repositories_deleting', '10 1'),
  ('name_claims', 'name_claims', '300000 300 100 1'),
  ('repo_blobs', 'repo_blobs', '20000000 20000 1000 1'),
  ('repo_blobs', 'repo_blobs_by_blob', '20000000 20000 2'),
  ('repo_blobs', 'repo_blobs_candidates', '100000 1'),
  ('manifests', 'sqlite_autoindex_manifests_1', '3000000 3000 1000 1'),
  ('manifests', 'manifests_referrers', '1000000 1000 500 50 1'),
  ('manifests', 'manifests_referrers_by_type', '1000000 1000 500 50 20 1'),
  ('manifests', 'manifests_expiring', '1000 1'),
  ('manifest_blobs', 'manifest_blobs', '30000000 30000 5000 10 1'),
  ('manifest_blobs', 'manifest_blobs_by_blob', '30000000 30000 5000 5'),
  ('manifest_blobs', 'manifest_blobs_held', '30000000 30000 5000 5'),
  ('manifest_children', 'manifest_children', '3000000 3000 1000 5 1'),
  ('tags', 'tags', '3000000 3000 1000 1'),
  ('tags', 'tags_by_manifest', '2000000 2000 700 2'),
  ('tags', 'tags_listed', '2000000 2000 700 1'),
  ('uploads', 'uploads', '100000 100 1'),
  ('uploads', 'uploads_by_repo', '100000 100 10'),
  ('uploads', 'uploads_expiring', '100000 1'),
  ('uploads', 'uploads_staged', '10000 50 1 1'),
  ('uploads', 'uploads_by_object', '100000 100 1'),
  ('uploads', 'uploads_by_tail', '10000 50 1'),
  ('upload_parts', 'upload_parts', '1000000 1000 100 1');
ANALYZE sqlite_schema;
