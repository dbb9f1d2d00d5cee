package port

import (
	"net"
	"slices"
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
