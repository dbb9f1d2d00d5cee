-- A repository that goes is to be indexed again, too: it may have no tag or manifest left
-- that says so.

-- +goose Up
-- +goose StatementBegin
CREATE TRIGGER repositories_search_update AFTER UPDATE OF state ON repositories WHEN OLD.state <> NEW.state
BEGIN
  INSERT INTO search_changes (tenant_id, repo_id) VALUES (OLD.tenant_id, OLD.id);
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER repositories_search_delete AFTER DELETE ON repositories
BEGIN
  INSERT INTO search_changes (tenant_id, repo_id) VALUES (OLD.tenant_id, OLD.id);
END;
-- +goose StatementEnd
