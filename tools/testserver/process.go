package testserver

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"syscall"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/tools/internal/server"
)

// process is a running server.
type process struct {
	*server.Process
	path  string
	ready string // is in the line that it writes when it is ready

	mu      sync.Mutex
	isReady bool
	log     []string // its last lines
}

// start runs cmd and returns once it has written a line that contains ready.
func start(cmd *exec.Cmd, ready string) (*process, error) {
	p := &process{path: cmd.Path, ready: ready}
	return p, p.launch(cmd, func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.isReady
	})
}

// startAnswering runs cmd and returns once answers says so, for servers that
// write no line when they are ready.
func startAnswering(cmd *exec.Cmd, answers func(context.Context) bool) (*process, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	p := &process{path: cmd.Path}
	return p, p.launch(cmd, func() bool { return answers(ctx) })
}

// launch runs cmd and returns once it is ready.
func (p *process) launch(cmd *exec.Cmd, ready func() bool) error {
	out, in := io.Pipe()
	cmd.Stdout, cmd.Stderr = in, in
	go p.read(out)
	var err error
	if p.Process, err = server.Begin(cmd, nil); err != nil {
		return errors.Join(err, in.Close())
	}
	go func() {
		_ = p.Wait() // its error is for the caller who waits, or stops it
		_ = in.Close()
	}()
	err = await.Within(context.Background(), patience, p.path+" is ready", func() bool { return p.HasEnded() || ready() })
	switch {
	case p.HasEnded():
		return fmt.Errorf("%s ended: %w\n%s", p.path, p.Wait(), p.lastLines())
	case err != nil:
		return fmt.Errorf("%w\n%s", errors.Join(err, p.Kill()), p.lastLines())
	default:
		return nil
	}
}

// read keeps the last lines.
func (p *process) read(out io.Reader) {
	const most = 40
	for lines := bufio.NewScanner(out); lines.Scan(); {
		p.mu.Lock()
		p.isReady = p.isReady || strings.Contains(lines.Text(), p.ready)
		p.log = append(p.log, lines.Text())
		if len(p.log) > most {
			p.log = p.log[1:]
		}
		p.mu.Unlock()
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
	if err := p.Signal(s); err != nil {
		return err
	}
	return await.Within(context.Background(), patience, p.path+" has ended", p.HasEnded)
}
