package s3blob

import (
	"bytes"
	"testing"
)

// A tenant whose uploads take all the memory that they may leaves others some.
func TestS54_MemoryOfUploadsHasShares(t *testing.T) {
	p := newPool(64*chunkSize, t.TempDir())
	defer p.close()
	fill := func(tenant int64, chunks int) *spool {
		s := p.spool(tenant)
		if err := s.fill(bytes.NewReader(make([]byte, chunks*chunkSize-1)), idle); err != nil {
			t.Fatal(err)
		}
		return s
	}
	all := fill(1, 80)
	defer all.free()
	if len(all.chunks) != 56 || all.file == nil {
		t.Errorf("it has %d chunks", len(all.chunks))
	}
	for tenant := int64(2); tenant < 6; tenant++ {
		s := fill(tenant, 2)
		defer s.free()
		if len(s.chunks) != 2 || s.file != nil {
			t.Errorf("tenant %d has %d chunks", tenant, len(s.chunks))
		}
	}
	if used := p.gate.Used(); used != 64 {
		t.Errorf("%d chunks are in use", used)
	}
}
