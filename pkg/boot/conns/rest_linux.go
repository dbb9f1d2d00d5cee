package conns

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// limitRest resets the connection once its other end has taken nothing for a time,
// also when it is closed here.
func limitRest(c *net.TCPConn, t time.Duration) {
	onDescriptor(c, func(fd int) {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(t.Milliseconds())) // else the system's own limit holds
	})
}

// hasRest says whether the other end has yet to confirm something.
func hasRest(c *net.TCPConn) bool {
	rest := 0
	onDescriptor(c, func(fd int) {
		rest, _ = unix.IoctlGetInt(fd, unix.SIOCOUTQ) // 0 where it is not known
	})
	return rest > 0
}

// minBackoff is how often the system has tried to send more, twice as long after each
// other, to an end that takes nothing: for 6 s at least.
const minBackoff = 5

// takesNothing says whether the other end has taken nothing for some seconds of what it
// is to get.
func takesNothing(c *net.TCPConn) bool {
	is := false
	onDescriptor(c, func(fd int) {
		if info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			is = info.Backoff >= minBackoff
		}
	})
	return is
}

func onDescriptor(c *net.TCPConn, f func(fd int)) {
	if raw, err := c.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { f(int(fd)) }) // fails when it is closed
	}
}
