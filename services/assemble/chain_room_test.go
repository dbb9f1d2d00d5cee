package assemble_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/berth-registry/berth/tools/testserver"
)

// TestChain_NeedsNoOtherDirectory pulls where nothing but the data directory can
// be written, as in a container with a read-only file system.
func TestChain_NeedsNoOtherDirectory(t *testing.T) {
	up := testserver.StartScripted(t)
	w := startEmbedded(t, stampedeSeed(up.URL()), chained)
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "missing"))
	r := w.anybody(t, w.nodes...)[0]
	r.wantImage(t, testserver.ScriptedTag, up.Image)
	w.stop(t)
	left, err := os.ReadDir(filepath.Join(w.nodes[0].config.DataDir, "tmp"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	w.wantSound(t)
}
