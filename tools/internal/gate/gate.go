// Package gate runs a process whose system calls of chosen kinds wait at a gate:
// each is shown to a keeper, who lets it pass or kills the process before it has
// any effect. The program itself is unmodified and needs no privileges.
//
// It rests on the kernel's seccomp user notifications (Linux 5.8 and later). The
// filter must be installed by the process itself before it becomes the program,
// so the program that uses the gate is run again as a launcher: its main calls
// Launch first.
package gate

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Call is a system call that waits to be made.
type Call struct {
	Name string // such as "pwrite64"
	Path string // of the file or directory it would change; "socket:[…]" and the like for what has none
	New  bool   // it would make or truncate the file
}

// Keeper says whether the process is to be killed instead of making the call.
// It is asked about one call at a time.
type Keeper func(Call) bool

// Gate is the gate of one process and its children.
type Gate struct {
	ours   *os.File // the end of the socket that the launcher sends the listener through
	theirs *os.File
	keeper Keeper
	pid    int
	killed atomic.Bool
	ended  chan struct{}
	err    error // of watching; read it after ended
}

// New prepares a command that has not been started to run behind a gate. Call
// Watch after it was started.
func New(cmd *exec.Cmd, k Keeper) (*Gate, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	g := &Gate{
		ours: os.NewFile(uintptr(pair[0]), "gate"), theirs: os.NewFile(uintptr(pair[1]), "gate"),
		keeper: k, ended: make(chan struct{}),
	}
	if len(cmd.ExtraFiles) > 0 {
		return nil, errors.New("gate: the command has files of its own")
	}
	cmd.ExtraFiles = []*os.File{g.theirs}
	cmd.Args = append([]string{launcher, cmd.Path}, cmd.Args...)
	cmd.Path = "/proc/self/exe"
	return g, nil
}

// Watch begins to keep the gate of a process that was started, and returns when
// its filter stands.
func (g *Gate) Watch(p *os.Process) error {
	defer g.ours.Close()
	if err := g.theirs.Close(); err != nil {
		return err
	}
	g.pid = p.Pid
	conn, err := net.FileConn(g.ours)
	if err != nil {
		return err
	}
	defer conn.Close()
	listener, err := receive(conn.(*net.UnixConn))
	if err != nil {
		return fmt.Errorf("gate: the launcher sent no listener: %w", err)
	}
	go func() {
		defer close(g.ended)
		g.err = errors.Join(g.watch(listener), unix.Close(listener))
	}()
	return nil
}

// Wait returns when the process has ended, with an error if the gate could not
// be kept until then.
func (g *Gate) Wait() error {
	<-g.ended
	return g.err
}

func receive(conn *net.UnixConn) (int, error) {
	oob := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := conn.ReadMsgUnix(make([]byte, 1), oob)
	if err != nil {
		return 0, err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(messages) == 0 {
		return 0, errors.Join(err, errors.New("it ended before"))
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return 0, err
	}
	unix.CloseOnExec(fds[0])
	return fds[0], nil
}

// notification and response are the kernel's struct seccomp_notif and
// seccomp_notif_resp.
type notification struct {
	id    uint64
	tid   uint32
	flags uint32
	nr    int32
	arch  uint32
	ip    uint64
	args  [6]uint64
}

type response struct {
	id    uint64
	val   int64
	err   int32
	flags uint32
}

// watch answers until no process is behind the gate any more.
func (g *Gate) watch(listener int) error {
	for {
		fds := []unix.PollFd{{Fd: int32(listener), Events: unix.POLLIN}}
		if _, err := unix.Poll(fds, -1); errors.Is(err, unix.EINTR) {
			continue
		} else if err != nil {
			return err
		}
		if fds[0].Revents&unix.POLLIN == 0 {
			return nil // hung up
		}
		var n notification
		switch err := control(listener, unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(&n)); {
		case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EINTR):
			continue // the thread is gone, or a signal took the call back
		case err != nil:
			return err
		}
		if g.decide(n) {
			continue
		}
		r := response{id: n.id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
		if err := control(listener, unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&r)); err != nil && !errors.Is(err, unix.ENOENT) {
			return err
		}
	}
}

// decide says whether the process was killed; its call is never answered then.
func (g *Gate) decide(n notification) bool {
	if g.killed.Load() {
		return true
	}
	c, ok := describe(n)
	if !ok || !g.keeper(c) {
		return false
	}
	g.killed.Store(true)
	_ = unix.Kill(g.pid, unix.SIGKILL) // it may have been killed by others
	return true
}

// describe is the call in words; false when it changes nothing.
func describe(n notification) (Call, bool) {
	kind := kindOf(n.nr)
	c := Call{Name: kind.name}
	switch {
	case kind.path < 0:
		c.Path = link(n.tid, "fd/"+strconv.Itoa(int(int32(n.args[0]))))
	default:
		c.Path = text(n.tid, n.args[kind.path])
		if !strings.HasPrefix(c.Path, "/") {
			dir := "cwd"
			if kind.path > 0 && int32(n.args[kind.path-1]) != unix.AT_FDCWD {
				dir = "fd/" + strconv.Itoa(int(int32(n.args[kind.path-1])))
			}
			c.Path = link(n.tid, dir) + "/" + c.Path
		}
	}
	if kind.flags > 0 {
		c.New = n.args[kind.flags]&(unix.O_CREAT|unix.O_TRUNC) != 0
		return c, c.New
	}
	return c, true
}

func link(tid uint32, name string) string {
	to, err := os.Readlink("/proc/" + strconv.Itoa(int(tid)) + "/" + name)
	if err != nil {
		return "" // closed meanwhile
	}
	return to
}

// text reads a string of the thread that waits.
func text(tid uint32, at uint64) string {
	buf := make([]byte, 512)
	local := []unix.Iovec{{Base: &buf[0], Len: uint64(len(buf))}}
	n, err := unix.ProcessVMReadv(int(tid), local, []unix.RemoteIovec{{Base: uintptr(at), Len: len(buf)}}, 0)
	if err != nil {
		return ""
	}
	return unix.ByteSliceToString(buf[:n])
}

func control(fd int, request uint, p unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(request), uintptr(p)); errno != 0 {
		return errno
	}
	return nil
}
