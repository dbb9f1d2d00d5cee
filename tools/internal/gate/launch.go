package gate

import (
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// launcher is the name that a program is run under to be the launcher.
const launcher = "berth-gate-launcher"

// socket is where the launcher sends the listener: the command's first extra
// file.
const socket = 3

// Launch becomes the program behind the gate if this process was started as its
// launcher, and returns at once if not. It is the first call of main, and of
// TestMain.
func Launch() {
	if os.Args[0] != launcher {
		return
	}
	fmt.Fprintln(os.Stderr, "gate:", launch(os.Args[1], os.Args[2:]))
	os.Exit(127)
}

func launch(path string, args []string) error {
	// The filter is of this thread, which becomes the program.
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	listener, err := install(filter())
	if err != nil {
		return fmt.Errorf("seccomp: %w", err)
	}
	if err := unix.Sendmsg(socket, []byte{0}, unix.UnixRights(listener), nil, 0); err != nil {
		return err
	}
	unix.CloseOnExec(socket)
	unix.CloseOnExec(listener)
	return unix.Exec(path, args, os.Environ())
}

func install(f []unix.SockFilter) (int, error) {
	program := unix.SockFprog{Len: uint16(len(f)), Filter: &f[0]}
	// Waiting calls are interrupted by signals that kill, not by the Go runtime's
	// own; kernels before 5.19 cannot do that and show such a call twice.
	for _, flags := range []uintptr{
		unix.SECCOMP_FILTER_FLAG_NEW_LISTENER | unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
		unix.SECCOMP_FILTER_FLAG_NEW_LISTENER,
	} {
		fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&program)))
		if errno == 0 {
			return int(fd), nil
		}
		if errno != unix.EINVAL {
			return 0, errno
		}
	}
	return 0, unix.EINVAL
}

// filter lets every system call pass but those that are gated.
func filter() []unix.SockFilter {
	f := []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}} // seccomp_data.nr
	for nr := range gated {
		f = append(f,
			unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: uint32(nr)},
			unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_USER_NOTIF})
	}
	return append(f, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW})
}
