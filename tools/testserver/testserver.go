// Package testserver starts the real servers that tests need, on free loopback
// ports and in private directories: one of each kind per test process, and
// servers of one test's own that it may stop, kill and pause.
//
// A test that needs a server which is not installed fails and says what to
// install; it is never skipped. A package that uses a server stops it in its
// TestMain:
//
//	func TestMain(m *testing.M) {
//		m.Run()
//		testserver.Stop()
//	}
//
// A test process that dies without reaching Stop takes its servers with it.
package testserver

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/berth-registry/berth/tools/internal/port"
)

// patience is how long a server may take to start or to stop.
const patience = time.Minute

// stops end what was started, last first.
var stops struct {
	mu  sync.Mutex
	all []func() error
}

func atStop(f func() error) {
	stops.mu.Lock()
	defer stops.mu.Unlock()
	stops.all = append(stops.all, f)
}

// Stop ends all servers of this process and removes their directories.
func Stop() {
	stops.mu.Lock()
	defer stops.mu.Unlock()
	for i := len(stops.all) - 1; i >= 0; i-- {
		if err := stops.all[i](); err != nil {
			fmt.Fprintln(os.Stderr, "testserver:", err)
		}
	}
	stops.all = nil
}

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

// process is a running server.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed when it has

	mu  sync.Mutex
	log []string // its last lines
}

// start runs cmd and returns once it has written a line that contains ready.
func start(cmd *exec.Cmd, ready string) (*process, error) {
	isReady := make(chan struct{})
	once := sync.OnceFunc(func() { close(isReady) })
	return launch(cmd, isReady, func(line string) {
		if strings.Contains(line, ready) {
			once()
		}
	})
}

// startAnswering runs cmd and returns once answers says so, for servers that
// write no line when they are ready.
func startAnswering(cmd *exec.Cmd, answers func(context.Context) bool) (*process, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	isReady := make(chan struct{})
	go func() {
		for tick := time.NewTicker(20 * time.Millisecond); ; {
			if answers(ctx) {
				tick.Stop()
				close(isReady)
				return
			}
			select {
			case <-ctx.Done():
				tick.Stop()
				return
			case <-tick.C:
			}
		}
	}()
	return launch(cmd, isReady, func(string) {})
}

// launch runs cmd and returns once it is ready; each line that it writes goes
// to told.
func launch(cmd *exec.Cmd, isReady <-chan struct{}, told func(line string)) (*process, error) {
	out, in := io.Pipe()
	cmd.Stdout, cmd.Stderr = in, in
	p := &process{cmd: cmd, ended: make(chan struct{})}
	failed := make(chan error, 1)
	go func() {
		// The kernel sends Pdeathsig when the thread that started the process
		// ends, so that thread is kept until the process has ended.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := cmd.Start(); err != nil {
			failed <- err
			return
		}
		err := cmd.Wait()
		_ = in.Close()
		failed <- fmt.Errorf("it ended: %w", errors.Join(err, errors.New(p.lastLines())))
		close(p.ended)
	}()
	go p.read(out, told)
	select {
	case <-isReady:
		return p, nil
	case err := <-failed:
		return nil, fmt.Errorf("%s: %w", cmd.Path, err)
	case <-time.After(patience):
		err := fmt.Errorf("%s was not ready in %s:\n%s", cmd.Path, patience, p.lastLines())
		return nil, errors.Join(err, p.stop(syscall.SIGKILL))
	}
}

// read keeps the last lines and passes each on.
func (p *process) read(out io.Reader, told func(line string)) {
	const most = 40
	for lines := bufio.NewScanner(out); lines.Scan(); {
		p.mu.Lock()
		p.log = append(p.log, lines.Text())
		if len(p.log) > most {
			p.log = p.log[1:]
		}
		p.mu.Unlock()
		told(lines.Text())
	}
	_, _ = io.Copy(io.Discard, out)
}

func (p *process) lastLines() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.log, "\n")
}

// stop sends the signal and waits for the end.
func (p *process) stop(s syscall.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.ended:
		return nil
	case <-time.After(patience):
		return fmt.Errorf("%s did not stop in %s", p.cmd.Path, patience)
	}
}

// freePort is a loopback port that nobody listens on.
func freePort() (int, error) {
	addrs, err := port.Free(1)
	if err != nil {
		return 0, err
	}
	_, number, err := net.SplitHostPort(addrs[0])
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(number)
}
