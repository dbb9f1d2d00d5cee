// Command browserrun lets a web page of a stranger try what it can do to a Berth
// on the same machine, in a real browser: read, push, delete, and call the admin
// API, on every listener, from another origin and by a name of its own that it
// leads there (contract row S63), while the browser has a session of the operator (U105).
// Berth is as a first start leaves it, so that everyone on the machine may push without an
// account.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/berth-registry/berth/tools/internal/command"
	"github.com/berth-registry/berth/tools/internal/port"
	"github.com/berth-registry/berth/tools/internal/server"
)

func main() {
	binary := flag.String("berth", "bin/berth", "the server's binary")
	browser := flag.String("chromium", "chromium", "the browser's binary")
	flag.Parse()
	command.Run("browserrun", func(ctx context.Context, out io.Writer) error {
		ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
		defer cancel()
		return run(ctx, *binary, *browser, out)
	})
}

func run(ctx context.Context, binary, browser string, out io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "browserrun")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	addrs, err := port.Free(1)
	if err != nil {
		return err
	}
	s, err := server.New(binary, dir, "BERTH_ADMIN_GRPC_ADDR="+addrs[0])
	if err != nil {
		return err
	}
	v := &victim{data: s.Data, admin: s.Admin, ops: s.Ops, grpc: addrs[0]}
	if err := v.start(ctx, s); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Stop()) }()
	if v.token, err = os.ReadFile(filepath.Join(dir, "data", "operator-token")); err != nil {
		return err
	}
	tab, closeTab, err := openBrowser(ctx, browser, filepath.Join(dir, "profile"))
	if err != nil {
		return err
	}
	defer closeTab()
	if err := logIn(tab, v); err != nil {
		return err
	}
	if err := v.fill(ctx); err != nil {
		return err
	}
	start := time.Now()
	found, tried, err := attack(tab, v)
	if err != nil {
		return err
	}
	changed, err := v.changes(ctx)
	if err != nil {
		return err
	}
	if err := logOut(tab, v); err != nil {
		return err
	}
	for _, f := range append(found, changed...) {
		fmt.Fprintln(out, "  "+f)
	}
	if n := len(found) + len(changed); n > 0 {
		return fmt.Errorf("a foreign page did %d things that it must not, of %d attempts", n, tried)
	}
	fmt.Fprintf(out, "ok browserrun: %d attempts of foreign pages on %d listeners in %.0f s: nothing read, pushed, deleted or called\n",
		tried, len(v.listeners()), time.Since(start).Seconds())
	return nil
}

// host is the address by the name that browsers take for this machine.
func host(addr string) string { return "localhost" + addr[strings.LastIndex(addr, ":"):] }
