// Command ssrfrun tries to lead Berth into networks that it must not connect to,
// by every spelling of an address, in every place where an upstream or its tenant
// can write one, and in the URLs of webhooks (contract rows E1 to E3, E17). It runs the unmodified server in a
// network namespace of its own, where all addresses of the world are this
// machine's, and counts who connects to them.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"
)

type options struct {
	berth   string
	fetches int
	ways    string
}

// insideVariable says that the namespace is there.
const insideVariable = "SSRFRUN_INSIDE"

func main() {
	var o options
	flag.StringVar(&o.berth, "berth", "bin/berth", "the server's binary")
	flag.IntVar(&o.fetches, "fetches", 100, "how often a name is asked for that leads elsewhere each time")
	flag.StringVar(&o.ways, "ways", ways, "how upstreams are reached, comma-separated")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	if os.Getenv(insideVariable) == "" {
		if err := again(ctx); err != nil {
			fmt.Fprintln(os.Stderr, "FAIL ssrfrun:", err)
			os.Exit(1)
		}
		return
	}
	if err := run(ctx, o, os.Stdout); err != nil {
		fmt.Println("FAIL ssrfrun:", err)
		os.Exit(1)
	}
}

// again runs this program in new namespaces, for which it must be root.
func again(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, self, os.Args[1:]...)
	cmd.Env = append(os.Environ(), insideVariable+"=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	return cmd.Run()
}
