-- Events of which deliveries have yet to be made, by tenant.

-- +goose Up
CREATE INDEX events_hooked ON events (tenant_id, id) WHERE hooked;
