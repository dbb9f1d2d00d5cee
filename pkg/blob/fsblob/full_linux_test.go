package fsblob_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/blob/fsblob"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/tools/testserver"
)

// A disk that fills up at any write costs the upload nothing that was
// recorded, and it continues when there is space again.
func TestR35_DiskFull(t *testing.T) {
	const size = 4 << 20
	dir := testserver.SmallDisk(t, "4m")
	s := open(t, dir, fsblob.Options{StepBytes: 256 << 10, MinFree: 1})
	want := bytes.Repeat([]byte("0123456789abcdef"), 3<<20/16)
	filler := filepath.Join(dir, "filler")
	for point := range 20 {
		room := point * len(want) / 20
		if err := os.WriteFile(filler, make([]byte, size-room-(64<<10)), 0o600); err != nil {
			t.Fatal(err)
		}
		st := blob.Stage{Key: blob.Key{Tenant: 1, Incarnation: uuid.New()}}
		var r recorder
		r.Reset(want)
		if err := s.Append(t.Context(), st, &r, &r); fault.KindOf(err) != fault.Full {
			t.Fatalf("append with room for %d bytes: %v, want full", room, err)
		}
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
		st.Offset = r.offset
		r.Reset(want[st.Offset:])
		if err := s.Append(t.Context(), st, &r, &r); err != nil {
			t.Fatalf("append with room again: %v", err)
		}
		st.Offset = r.offset
		if n, err := s.Seal(t.Context(), st); err != nil || n != int64(len(want)) {
			t.Fatalf("seal: %d, %v", n, err)
		}
		c, err := s.Open(t.Context(), st.Key)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, want) {
			t.Errorf("with room for %d bytes: %d bytes stored, %v; want %d, equal", room, len(got), err, len(want))
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if err := s.Delete(t.Context(), st.Key, ""); err != nil {
			t.Fatal(err)
		}
	}
}
