// Command killrun pushes, pulls, retags and deletes overlapping images with
// many clients while it kills the server with SIGKILL and starts it again.
// Afterwards it compares what is there with a ledger of everything that was
// acknowledged, and runs berth fsck (invariants I1 to I9).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/tools/internal/command"
	"github.com/berth-registry/berth/tools/internal/ociclient"
	"github.com/berth-registry/berth/tools/internal/server"
	"github.com/berth-registry/berth/tools/internal/workload"
)

type options struct {
	berth    string
	duration time.Duration
	clients  int
	kills    int
	seed     uint64
	dir      string
}

func main() {
	var o options
	flag.StringVar(&o.berth, "berth", "bin/berth", "the server's binary")
	flag.DurationVar(&o.duration, "duration", time.Minute, "how long clients work")
	flag.IntVar(&o.clients, "clients", 64, "clients at once")
	flag.IntVar(&o.kills, "kills", 10, "how often the server is killed")
	flag.Uint64Var(&o.seed, "seed", uint64(time.Now().UnixNano()), "seed of every choice")
	flag.StringVar(&o.dir, "dir", "", "work here and leave the data behind")
	flag.Parse()

	command.Run(fmt.Sprintf("killrun -seed %d", o.seed), func(ctx context.Context, out io.Writer) error { return run(ctx, o, out) })
}

func run(ctx context.Context, o options, out io.Writer) error {
	fmt.Fprintf(out, "killrun -duration %v -clients %d -kills %d -seed %d\n", o.duration, o.clients, o.kills, o.seed)
	dir := o.dir
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "killrun"); err != nil {
			return err
		}
		defer os.RemoveAll(dir)
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	srv, err := server.New(o.berth, dir)
	if err != nil {
		return err
	}
	if err := srv.Start(ctx); err != nil {
		return err
	}
	secret, err := srv.Account(ctx, "killrun") // deleting needs one
	if err != nil {
		return err
	}

	w := workload.New(o.seed, 0)
	client := &ociclient.Client{
		Base: "http://" + srv.Data,
		User: "killrun", Secret: secret,
		HTTP: &http.Client{
			Timeout:   30 * time.Second,
			Transport: &http.Transport{MaxIdleConnsPerHost: o.clients, DisableCompression: true},
		},
	}
	if err := drive(ctx, o, w, client, srv, out); err != nil {
		return fmt.Errorf("%w\nend of the server's log:\n%s", err, srv.LogTail())
	}
	if ctx.Err() != nil {
		return errors.Join(ctx.Err(), srv.Kill())
	}

	seen, err := w.Client(o.clients, client, back(srv)).Verify(ctx)
	if err != nil {
		return err
	}
	if err := srv.Stop(); err != nil {
		return fmt.Errorf("the server's end: %w\n%s", err, srv.LogTail())
	}
	if said, err := srv.Run(ctx, "fsck", "--deep"); err != nil {
		return fmt.Errorf("%w\n%s", err, said)
	}
	fmt.Fprintf(out, "ok   %d acknowledged operations, %d without an answer; %s; fsck finds nothing\n", w.Acknowledged(), w.Lost(), seen)
	return nil
}

// drive lets the clients work while the server is killed. The first client that
// sees what must never happen ends the run.
func drive(ctx context.Context, o options, w *workload.World, client *ociclient.Client, srv *server.Server, out io.Writer) error {
	working, cancel := context.WithTimeout(ctx, o.duration)
	defer cancel()
	var clients sync.WaitGroup
	failures := make([]error, o.clients)
	for i := range o.clients {
		clients.Go(func() {
			if failures[i] = w.Client(i, client, back(srv)).Work(working); failures[i] != nil {
				cancel()
			}
		})
	}
	killErr := kill(working, srv, o, out)
	clients.Wait()
	return errors.Join(killErr, errors.Join(failures...))
}

// back waits until the server is there again.
func back(srv *server.Server) func(context.Context) {
	return func(ctx context.Context) {
		_ = await.Within(ctx, time.Minute, "the server is ready", func() bool { return srv.Ready(ctx) }) // where it is not, the next request says so
	}
}

// kill ends and starts the server o.kills times, at random moments of equal
// slices of the run.
func kill(ctx context.Context, srv *server.Server, o options, out io.Writer) error {
	rng := rand.New(rand.NewPCG(o.seed, 1<<32))
	slice := o.duration / time.Duration(o.kills+1)
	for i := range o.kills {
		wait := slice/2 + time.Duration(rng.Int64N(int64(slice)))
		if i > 0 {
			wait = max(wait-slice/2, slice/4)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done(): // the run ends early
			return nil
		}
		if err := srv.Kill(); err != nil {
			return err
		}
		killed := time.Now()
		// Not the run's context: the server must be up for the verification.
		if err := srv.Start(context.WithoutCancel(ctx)); err != nil {
			return err
		}
		fmt.Fprintf(out, "kill %d of %d: ready again after %v\n", i+1, o.kills, time.Since(killed).Round(time.Millisecond))
	}
	return nil
}
