-- A cached tag is doubted when its upstream no longer has what the tag leads to. The
-- upstream is asked for it again, however recently it was checked.

-- +goose Up
ALTER TABLE cache_tags ADD COLUMN IF NOT EXISTS doubted boolean NOT NULL DEFAULT false;
