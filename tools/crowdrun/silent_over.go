package main

import (
	"net"

	"golang.org/x/sys/unix"
)

// over says whether the other end has closed the connection, without reading what may
// be there.
func over(conn net.Conn) bool {
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return true
	}
	closed := false
	if err := raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		closed = err != nil || info.State != tcpEstablished
	}); err != nil {
		return true
	}
	return closed
}

// tcpEstablished is TCP_ESTABLISHED of Linux.
const tcpEstablished = 1
