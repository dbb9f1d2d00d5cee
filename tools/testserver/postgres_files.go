package testserver

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

// newPostgres has the files of a server that never ran, until Stop.
var newPostgres struct {
	mu  sync.Mutex
	dir string
}

// postgresFiles makes the files of a server under dir/data. To copy those of a
// new one takes a fifth of the time that it takes to make them.
func postgresFiles(who account, dir string) error {
	newPostgres.mu.Lock()
	defer newPostgres.mu.Unlock()
	if _, err := os.Stat(newPostgres.dir); err != nil {
		if newPostgres.dir, err = initPostgres(who); err != nil {
			return err
		}
	}
	if out, err := who.command(dir, syscall.SIGKILL, "cp", "-a", filepath.Join(newPostgres.dir, "data"), dir).CombinedOutput(); err != nil {
		return fmt.Errorf("cannot copy the files of a new server: %w\n%s", err, out)
	}
	return nil
}

func initPostgres(who account) (string, error) {
	bin, err := findPostgres()
	if err != nil {
		return "", err
	}
	dir, err := who.directory("berth-postgres")
	if err != nil {
		return "", err
	}
	atStop(func() error { return os.RemoveAll(dir) })
	// An order of words that is not the order of bytes shows where one is meant
	// and the other is used.
	initdb := who.command(dir, syscall.SIGKILL, filepath.Join(bin, "initdb"), "-D", filepath.Join(dir, "data"), "-A", "trust", "-U", "postgres",
		"--no-sync", "-E", "UTF8", "--locale", "C.UTF-8", "--locale-provider", "icu", "--icu-locale", "en-US")
	if out, err := initdb.CombinedOutput(); err != nil {
		return "", fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return dir, nil
}
