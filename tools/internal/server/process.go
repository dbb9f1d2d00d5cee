package server

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"github.com/berth-registry/berth/tools/internal/gate"
)

// Process is a started program that does not outlive this one.
type Process struct {
	cmd   *exec.Cmd
	gate  *gate.Gate
	ended chan struct{}
	err   error // of its end; read it after ended
}

// Begin starts a program, behind a gate when there is a keeper. It is killed when
// this one ends, unless the command says otherwise.
func Begin(cmd *exec.Cmd, keeper gate.Keeper) (*Process, error) {
	p := &Process{cmd: cmd, ended: make(chan struct{})}
	if keeper != nil {
		var err error
		if p.gate, err = gate.New(cmd, keeper); err != nil {
			return nil, err
		}
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	}
	started := make(chan error)
	go func() {
		// The kernel sends Pdeathsig when the thread that started the process
		// ends, so that thread is kept until the process has ended.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
			close(p.ended)
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	if p.gate != nil {
		if err := p.gate.Watch(cmd.Process); err != nil {
			return nil, errors.Join(err, p.Kill())
		}
	}
	return p, nil
}

// PID is its process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// HasEnded says whether the process has ended.
func (p *Process) HasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// Signal sends it a signal; that it has ended is not an error.
func (p *Process) Signal(s os.Signal) error {
	if err := p.cmd.Process.Signal(s); !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// Wait returns when the process has ended; an exit code other than 0, or a
// signal that ended it, is an error.
func (p *Process) Wait() error {
	<-p.ended
	if p.gate != nil {
		return errors.Join(p.err, p.gate.Wait())
	}
	return p.err
}

// Kill ends the process without warning (SIGKILL).
func (p *Process) Kill() error {
	err := p.Signal(os.Kill)
	_ = p.Wait() // it was killed: that is its error
	return err
}
