package boot

import (
	"errors"
	"net"
	"os"
	"syscall"
	"testing"
)

// short is a listener whose process has no file descriptor left.
type short struct {
	net.Listener
	err error
}

func (s short) Accept() (net.Conn, error) {
	return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", s.err)}
}

func TestQ4_NoDescriptorLeft(t *testing.T) {
	for err, want := range map[error]int{syscall.EMFILE: 1, syscall.ENFILE: 1, syscall.ECONNABORTED: 0} {
		asked := 0
		if _, got := (relieved{short{nil, err}, func() { asked++ }}).Accept(); !errors.Is(got, err) || asked != want {
			t.Errorf("%v: %v, asked %d times", err, got, asked)
		}
	}
	if MaxFiles() < 64 {
		t.Errorf("%d files", MaxFiles())
	}
}
