package s3blob_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/berth-registry/berth/pkg/blob/s3blob"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/tools/testserver"
)

// A disk of temporary files that is full at any point costs an upload nothing
// that was recorded, and it continues when there is space again.
func TestR35_SpoolDiskFull(t *testing.T) {
	const size = partBytes + 1<<20
	dir := testserver.SmallDisk(t, "8m")
	// There is memory for the first chunk only, all else is spooled.
	s := open(t, testserver.S3(t), s3blob.Options{PartBytes: partBytes, MemoryBytes: 1, SpoolDir: dir})
	want := ocitest.Noise(2*partBytes, 35)
	filler := filepath.Join(dir, "filler")
	for point := range 20 {
		room := point * (partBytes - 1<<20) / 20
		if err := os.WriteFile(filler, make([]byte, 8<<20-room-(256<<10)), 0o600); err != nil {
			t.Fatal(err)
		}
		x := newSession(t, s)
		err := x.append(t.Context(), bytes.NewReader(want[:size]))
		if !isDown(err) {
			t.Fatalf("append with room for %d bytes: %v, want Unavailable", room, err)
		}
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
		x.mustAppend(want[x.stage.Offset:])
		x.mustSeal(want)
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) > 0 {
		t.Errorf("left in the directory: %v, %v", names, err)
	}
}
