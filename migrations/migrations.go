// Package migrations holds the schema of each metadata store as numbered,
// forward-only steps for goose.
package migrations

import "embed"

// SQLite holds the steps of package sqlitemeta under "sqlite".
//
//go:embed sqlite/*.sql
var SQLite embed.FS

// Postgres holds the steps of package pgmeta under "postgres".
//
//go:embed postgres/*.sql
var Postgres embed.FS
