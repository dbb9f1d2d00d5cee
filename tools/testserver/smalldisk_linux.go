package testserver

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// SmallDisk returns a directory that is a disk of its own with room for size,
// as in "8m". It goes with the test. Where it cannot be mounted, for which root
// is needed, the test is skipped, but fails in CI.
func SmallDisk(t testing.TB, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		// A developer may lack the right to mount; CI has it and must not pass by.
		if os.Getenv("CI") != "" {
			t.Fatalf("mount a small tmpfs: %v", err)
		}
		t.Skipf("a small tmpfs cannot be mounted here, run as root: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil { // a process may still use it
			t.Error(err)
		}
	})
	return dir
}
