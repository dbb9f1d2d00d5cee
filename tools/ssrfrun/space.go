package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Addresses in the namespace that are not targets.
const (
	resolverAddr = "127.0.0.53"     // the one name server
	hostileAddr  = "127.0.0.2"      // the upstream that is allowed, and means harm
	hostileAt    = "127.0.0.2:5001" // on a port that is not a target's
)

// furnish makes every address one of this namespace, and its name server ours.
func furnish(ctx context.Context, dir string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keep mounts to ourselves: %w", err)
	}
	for target, text := range map[string]string{
		"/etc/resolv.conf": "nameserver " + resolverAddr + "\noptions timeout:1 attempts:1\n",
		"/etc/hosts":       "127.0.0.1 localhost\n::1 ip6-localhost\n",
	} {
		file := filepath.Join(dir, filepath.Base(target))
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil { //nolint:gosec // everyone reads the original, too
			return err
		}
		if err := unix.Mount(file, target, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("put our own %s there: %w", target, err)
		}
	}
	for _, args := range [][]string{
		{"link", "set", "lo", "up"},
		{"route", "add", "local", "0.0.0.0/0", "dev", "lo"},
		{"-6", "route", "add", "local", "::/0", "dev", "lo"},
		// Where answers to connections from elsewhere come from.
		{"addr", "add", "198.41.0.4/32", "dev", "lo"},
		{"-6", "addr", "add", "2001:503:ba3e::2:30/128", "dev", "lo"},
	} {
		if out, err := exec.CommandContext(ctx, "ip", args...).CombinedOutput(); err != nil {
			return errors.Join(fmt.Errorf("ip %v: %s", args, out), err)
		}
	}
	return nil
}
