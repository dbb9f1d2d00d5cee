// Command crashrun kills a Berth process with SIGKILL at every step of uploads,
// commits, manifest PUTs, mounts, deletes, undeletes, promotions, purges and of the janitor's work, and
// sees to it that nothing acknowledged is lost, nothing is left dangling or unknown, and
// the quota and the audit log are exact (fault contract R1 to R10 and C16, invariants I1 to
// I9).
//
// The binary is the one that users run. Steps are system calls of the embedded
// process, made to wait before they have any effect, and the messages between a
// node and its servers, which pass through proxies.
package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"syscall"

	"github.com/berth-registry/berth/tools/internal/gate"
	"github.com/berth-registry/berth/tools/testserver"
)

type options struct {
	berth string
	shape string
	runs  int
	seed  uint64
	only  string
	dir   string
}

func main() {
	gate.Launch()
	serveAsJanitor()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var o options
	flag.StringVar(&o.berth, "berth", "bin/berth", "the server's binary")
	flag.StringVar(&o.shape, "shape", "", "embedded or cluster; empty is both")
	flag.IntVar(&o.runs, "runs", 300, "how often a process is killed")
	flag.Uint64Var(&o.seed, "seed", rand.Uint64(), "seed of every choice")
	flag.StringVar(&o.only, "only", "", "the operation to kill in; empty is all")
	flag.StringVar(&o.dir, "dir", "", "work here and leave the data behind")
	flag.Parse()
	err := run(ctx, o, os.Stdout)
	testserver.Stop()
	if err != nil {
		fmt.Printf("FAIL crashrun -seed %d: %v\n", o.seed, err)
		os.Exit(1)
	}
}
