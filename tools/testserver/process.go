package testserver

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

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
	failed, started := make(chan error, 1), make(chan struct{})
	go func() {
		// The kernel sends Pdeathsig when the thread that started the process
		// ends, so that thread is kept until the process has ended.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := cmd.Start(); err != nil {
			failed <- err
			return
		}
		close(started)
		err := cmd.Wait()
		_ = in.Close()
		failed <- fmt.Errorf("it ended: %w", errors.Join(err, errors.New(p.lastLines())))
		close(p.ended)
	}()
	go p.read(out, told)
	select {
	case <-isReady:
		<-started // it has, but cmd may not be written yet
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
