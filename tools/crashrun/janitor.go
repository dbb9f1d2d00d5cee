package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/berth-registry/berth/pkg/blob/fsblob"
	"github.com/berth-registry/berth/pkg/blob/s3blob"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/pgmeta"
	"github.com/berth-registry/berth/pkg/meta/sqlitemeta"
	"github.com/berth-registry/berth/services/janitor"
	"github.com/berth-registry/berth/tools/internal/server"
)

// janitorName is the first argument of this program as a janitor.
const janitorName = "janitor"

// week is longer than an upload lives, a blob is kept for its manifest, or a
// condemned object for a restore.
const week = 7 * 24 * time.Hour

// A janitor makes one pass with the clock put forward by a week, which condemns
// what is garbage, and one by two, which deletes it. Where one died, the next
// continues at a later time, past that at which the first one's work is tried
// again.
const passes = 2

// aheadOf is how far the clock of the nth janitor is put forward in a pass.
func aheadOf(nth, pass int) time.Duration { return time.Duration(nth*passes+pass+1) * week }

// janitorCommand runs this program as the nth janitor at one work.
func janitorCommand(nth int, args ...string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, append([]string{janitorName, "-nth", strconv.Itoa(nth)}, args...)...)
	cmd.Env, cmd.Stderr = os.Environ(), os.Stderr
	return cmd, nil
}

// endOf waits for a watched process: errKilled when the watch has killed it.
func (w *watch) endOf(p *server.Process) error {
	err := p.Wait()
	if err != nil && w.killed() && strings.Contains(err.Error(), "killed") {
		return errKilled
	}
	return err
}

// serveAsJanitor does a janitor's work and exits if this process was started to
// be one, and returns at once if not.
func serveAsJanitor() {
	if len(os.Args) < 2 || os.Args[1] != janitorName {
		return
	}
	slog.SetDefault(slog.New(slog.DiscardHandler))
	if err := clean(context.Background(), os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// clean is a process that runs the product's janitor, which would wait for days
// in a server, with its clock put forward.
func clean(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet(janitorName, flag.ContinueOnError)
	data := flags.String("data", "", "data directory; empty for servers")
	database := flags.String("meta", "", "URL of Postgres, with the clock of makeClock")
	blobs := flags.String("blobs", "", "URL of the bucket")
	nth := flags.Int("nth", 0, "how many have died at this work")
	if err := flags.Parse(args); err != nil {
		return err
	}
	for pass := range passes {
		ahead := aheadOf(*nth, pass)
		var err error
		if *data != "" {
			err = cleanDirectory(ctx, *data, ahead)
		} else {
			err = cleanServers(ctx, *database, *blobs, ahead)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func cleanDirectory(ctx context.Context, dir string, ahead time.Duration) error {
	m, err := sqlitemeta.Open(ctx, sqlitemeta.Options{
		Dir: dir, Now: func() time.Time { return time.Now().Add(ahead) }, Lifetimes: lifetimes(ahead),
	})
	if err != nil {
		return err
	}
	b, err := fsblob.Open(filepath.Join(dir, "blobs"), fsblob.Options{})
	if err != nil {
		return errors.Join(err, m.Close())
	}
	err = janitor.New(janitor.Config{Meta: m, Blobs: b, Log: slog.Default()}).Pass(ctx)
	return errors.Join(err, b.Close(), m.Close())
}

func cleanServers(ctx context.Context, database, blobs string, ahead time.Duration) error {
	u, err := url.Parse(database)
	if err != nil {
		return err
	}
	// The clock of this session's search path goes before the schema's own.
	q := u.Query()
	q.Set("search_path", "ahead,public")
	q.Set("crashrun.ahead", fmt.Sprintf("%ds", int64(ahead/time.Second)))
	u.RawQuery = q.Encode()
	m, err := pgmeta.Open(ctx, pgmeta.Options{URL: u.String(), Lifetimes: lifetimes(ahead)})
	if err != nil {
		return err
	}
	b, err := s3blob.Open(ctx, blobs, s3blob.Options{})
	if err != nil {
		return errors.Join(err, m.Close())
	}
	err = janitor.New(janitor.Config{Meta: m, Blobs: b, Log: slog.Default()}).Pass(ctx)
	return errors.Join(err, b.Close(), m.Close())
}

// lifetimes are those of the product, but that what is condemned or ended is due when it
// would be without the clock put forward, since fsck knows the right time.
func lifetimes(ahead time.Duration) meta.Lifetimes {
	l := meta.DefaultLifetimes
	l.Committed -= ahead
	l.StagedDelay -= ahead
	l.DeleteDelay -= ahead
	l.Evicted -= ahead
	return l
}
