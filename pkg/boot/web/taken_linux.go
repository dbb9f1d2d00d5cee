package web

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// confirmed is how many bytes the other end of a TCP connection has acknowledged.
func confirmed(c syscall.RawConn) (uint64, bool) {
	var info *unix.TCPInfo
	var err error
	if c.Control(func(fd uintptr) {
		info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	}) != nil || err != nil {
		return 0, false
	}
	return info.Bytes_acked, true
}
