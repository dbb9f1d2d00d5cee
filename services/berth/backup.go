package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/services/assemble"
	"github.com/berth-registry/berth/services/backup"
)

type backupCommand struct {
	settings
	Dir   string `arg:"" help:"Directory of the backup; made if it is missing."`
	Prune bool   `help:"Also remove from DIR the blobs that only earlier backups in it have."`
}

// Help is the longer text of --help.
func (backupCommand) Help() string {
	return `Copies metadata and blobs of the data directory to DIR. The server may run meanwhile: it is asked, at admin_addr and with the operator token of data_dir, for a snapshot of its metadata and to delete nothing until the backup ends. A second backup to the same DIR copies only blobs that are new; until it ends, the one before stays whole.

  berth backup /mnt/backup/berth
  berth backup --data-dir /var/lib/berth --prune /mnt/backup/berth
  berth fsck --deep --data-dir /mnt/backup/berth        check a backup
  cd /mnt/backup/berth && sha256sum --quiet -c SHA256SUMS

secret-key and operator-token are not copied: keep secret-key in another place. Who has DIR can read every image, so keep it as safe as the data directory. A deployment on Postgres is backed up with pg_dump and the tools of its bucket.`
}

// errLost is what a backup fails with that has all but what the server lost.
var errLost = errors.New("the backup is complete except for blobs that the server has lost; see above")

// Run makes a backup.
func (c backupCommand) Run(e *env) error {
	loaded, err := c.read(e)
	if err != nil {
		return err
	}
	if err := loaded.CheckStores(); err != nil {
		return err
	}
	sum, err := assemble.Backup(e.ctx, loaded.Config, backup.Copy{
		Dir: c.Dir, Prune: c.Prune, Progress: progress(e, "backed up"),
		Report: func(lost string) { fmt.Fprintln(e.stdout, lost) },
	})
	if err != nil {
		return fmt.Errorf("the backup could not be finished: %w", err)
	}
	fmt.Fprintf(e.stdout, "%s objects, %s, are in %s; %s objects, %s, of them are new", humanize.Comma(sum.Objects), size(sum.Bytes), c.Dir, humanize.Comma(sum.NewObjects), size(sum.NewBytes))
	if c.Prune {
		fmt.Fprintf(e.stdout, ", and %s were removed", humanize.Comma(sum.Pruned))
	}
	fmt.Fprintf(e.stdout, ".\nNot copied: %s. Without it, stored passwords of upstreams have to be given again.\n", assemble.SecretKeyPath(loaded.Config))
	if sum.Lost > 0 {
		return errLost
	}
	return nil
}

type restoreCommand struct {
	settings
	Dir string `arg:"" help:"Directory of the backup."`
}

// Help is the longer text of --help.
func (restoreCommand) Help() string {
	return `Makes the data directory that data_dir names of the backup in DIR. It must be empty, or not there yet. Every file is compared with SHA256SUMS while it is copied; where one is damaged, it is named and nothing is restored. What was restored is checked as by berth fsck, and then is ready for berth serve. A backup of an older version can be restored.

  berth restore /mnt/backup/berth --data-dir /var/lib/berth`
}

// Run restores a backup.
func (c restoreCommand) Run(e *env) error {
	loaded, err := c.read(e)
	if err != nil {
		return err
	}
	if err := loaded.CheckStores(); err != nil {
		return err
	}
	findings := 0
	sum, err := assemble.Restore(e.ctx, loaded.Config, backup.Restore{
		From: c.Dir, Progress: progress(e, "restored"), Report: func(wrong string) { fmt.Fprintln(e.stdout, wrong) },
	}, func(f meta.Finding) {
		findings++
		fsckCommand{Output: "table"}.print(e.stdout, f)
	})
	if err != nil {
		return fmt.Errorf("the backup could not be restored: %w", err)
	}
	fmt.Fprintf(e.stdout, "%s objects, %s, are in %s: %s\n", humanize.Comma(sum.Objects), size(sum.Bytes), loaded.DataDir, verdict(findings))
	if findings > 0 {
		return errFindings
	}
	sealed, err := assemble.SealedPassword(e.ctx, loaded.Config)
	if err != nil {
		return err
	}
	if sealed != "" {
		fmt.Fprintf(e.stdout, "Before the first start, put the file secret-key of the server back to %s: the password of %s and maybe others are sealed with it. Without it, set secret_key to a new one and give those passwords again.\n",
			assemble.SecretKeyPath(loaded.Config), sealed)
	}
	fmt.Fprintf(e.stdout, "Start it: berth serve --data-dir %s\n", loaded.DataDir)
	return nil
}

// progressEvery is the time between two lines of progress.
const progressEvery = 5 * time.Second

// progress tells now and then how far a command is.
func progress(e *env, what string) func(done, of int64) {
	told := time.Now()
	return func(done, of int64) {
		if time.Since(told) < progressEvery {
			return
		}
		told = time.Now()
		fmt.Fprintf(e.stderr, "%s of %s %s\n", size(done), size(of), what)
	}
}

func size(bytes int64) string { return humanize.IBytes(uint64(max(bytes, 0))) }
