package redisconn_test

import (
	"net/netip"
	"syscall"
	"testing"

	"github.com/berth-registry/berth/tools/testserver"
)

func TestMain(m *testing.M) { testserver.Main(m) }

func address(name syscall.Sockaddr) string {
	in4 := name.(*syscall.SockaddrInet4)
	return netip.AddrPortFrom(netip.AddrFrom4(in4.Addr), uint16(in4.Port)).String()
}
