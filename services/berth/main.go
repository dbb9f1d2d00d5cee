// Command berth is the registry: one binary that serves, and explains and
// checks its own configuration.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, release := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// After the first signal the second one kills the process as usual; what
	// was acknowledged is on disk by then.
	context.AfterFunc(ctx, release)
	os.Exit(run(ctx, os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr))
}
