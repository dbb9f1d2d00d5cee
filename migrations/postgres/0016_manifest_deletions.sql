-- Postgres deletes a manifest of thousands of references at once, since no other
-- write waits for it. The number is that of the step for SQLite.

-- +goose Up
SELECT 1;
