package web

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// confirmed is how many bytes the other end of a TCP connection has acknowledged.
func confirmed(c syscall.RawConn) (uint64, bool) {
	info := tcpInfo(c)
	if info == nil {
		return 0, false
	}
	return info.Bytes_acked, true
}

// isReset reports that the other end of a TCP connection takes nothing any more.
func isReset(c syscall.RawConn) bool {
	info := tcpInfo(c)
	return info != nil && info.State == unix.BPF_TCP_CLOSE
}

// tcpInfo is nil where the connection does not tell.
func tcpInfo(c syscall.RawConn) *unix.TCPInfo {
	var info *unix.TCPInfo
	var err error
	if c.Control(func(fd uintptr) {
		info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	}) != nil || err != nil {
		return nil
	}
	return info
}

// unconfirmed is how many bytes the system took for the other end of a TCP connection, which
// has not acknowledged them.
func unconfirmed(c syscall.RawConn) int64 {
	queued := 0
	if err := c.Control(func(fd uintptr) { queued, _ = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) }); err != nil {
		return 0
	}
	return int64(queued)
}
