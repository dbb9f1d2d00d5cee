package port

import (
	"net"
	"slices"
	"strconv"
	"testing"
)

func TestFree(t *testing.T) {
	addrs, err := Free(20)
	if err != nil {
		t.Fatal(err)
	}
	if got := len(slices.Compact(slices.Sorted(slices.Values(addrs)))); got != 20 {
		t.Errorf("%d of 20 addresses differ: %v", got, addrs)
	}
	for _, addr := range addrs {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Error(err)
			continue
		}
		l.Close()
	}
}

func TestReserve(t *testing.T) {
	addrs, err := Free(1)
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(addrs[0])
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	if mine, err := reserve(n); mine || err != nil {
		t.Errorf("port %d was given a second time: %v, %v", n, mine, err)
	}
}
