package main

import (
	"errors"
	"fmt"

	"github.com/berth-registry/berth/services/assemble"
)

type migrateCommand struct{ settings }

// Help is the longer text of --help.
func (migrateCommand) Help() string {
	return `Brings the schema of the database that meta names to the one this version needs, and never back. berth serve does so too: run this before it where the nodes' own role may not change the schema. Any number of nodes may start or migrate at once; nodes of the version before continue meanwhile.

  berth migrate --meta postgres://owner@db.example.com/berth
  BERTH_META_FILE=/run/secrets/meta berth migrate`
}

// Run migrates.
func (c migrateCommand) Run(e *env) error {
	loaded, err := c.read(e)
	if err != nil {
		return err
	}
	if loaded.Embedded() {
		return errors.New("meta: is not set; only a database server is migrated by hand, `berth serve` brings the one in data_dir up to date")
	}
	if err := assemble.Migrate(e.ctx, loaded.Config); err != nil {
		return err
	}
	fmt.Fprintln(e.stdout, "The database has the schema of this version.")
	return nil
}
