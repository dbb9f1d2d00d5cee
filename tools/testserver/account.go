package testserver

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// account is who a server runs as; nil means as this process does.
type account struct{ credential *syscall.Credential }

// serverAccount is for servers that refuse to run as root.
func serverAccount(name string) (account, error) {
	if os.Geteuid() != 0 {
		return account{}, nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return account{}, fmt.Errorf("a server that refuses to run as root needs the user %q: %w", name, err)
	}
	uid, errUID := strconv.ParseUint(u.Uid, 10, 32)
	gid, errGID := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(errUID, errGID); err != nil {
		return account{}, err
	}
	return account{&syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, nil
}

// directory makes a private directory of the account, after it has removed
// those of test processes that were killed.
func (a account) directory(name string) (string, error) {
	left, err := filepath.Glob(filepath.Join(os.TempDir(), name+".*.*"))
	if err != nil {
		return "", err
	}
	for _, dir := range left {
		pid, err := strconv.Atoi(strings.Split(filepath.Base(dir), ".")[1])
		if err == nil && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			_ = os.RemoveAll(dir) // another process may be at it too
		}
	}
	dir, err := os.MkdirTemp("", fmt.Sprintf("%s.%d.*", name, os.Getpid()))
	if err == nil && a.credential != nil {
		err = os.Chown(dir, int(a.credential.Uid), int(a.credential.Gid))
	}
	return dir, err
}

// command runs as the account and dies by the signal when this process does.
func (a account) command(dir string, death syscall.Signal, name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: a.credential, Pdeathsig: death}
	return cmd
}
