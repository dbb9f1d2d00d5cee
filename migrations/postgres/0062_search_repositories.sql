-- A repository that goes is to be indexed again, too: it may have no tag or manifest left
-- that says so.

-- +goose Up
-- +goose StatementBegin
CREATE FUNCTION berth_search_repository() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO search_changes (tenant_id, repo_id) VALUES (OLD.tenant_id, OLD.id);
  RETURN NULL;
END;
$$;
-- +goose StatementEnd
CREATE TRIGGER repositories_search_update AFTER UPDATE OF state ON repositories
  FOR EACH ROW WHEN (OLD.state <> NEW.state) EXECUTE FUNCTION berth_search_repository();
CREATE TRIGGER repositories_search_delete AFTER DELETE ON repositories
  FOR EACH ROW EXECUTE FUNCTION berth_search_repository();
