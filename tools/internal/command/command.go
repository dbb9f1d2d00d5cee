// Package command runs the programs under tools that check a server.
package command

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// Run runs a check until it ends or the program is interrupted. A failure is printed with
// the name of the program, and ends it with exit code 1.
func Run(name string, check func(ctx context.Context, out io.Writer) error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := check(ctx, os.Stdout); err != nil {
		fmt.Printf("FAIL %s: %v\n", name, err)
		os.Exit(1) // the signals end with the program
	}
}
