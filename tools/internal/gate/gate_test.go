package gate_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/berth-registry/berth/tools/internal/gate"
)

func TestMain(m *testing.M) {
	gate.Launch()
	m.Run()
}

// keep runs a shell behind a gate, and returns the files' end and the calls
// below dir that were seen.
func keep(t *testing.T, dir, script string, keeper gate.Keeper) ([]gate.Call, error) {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", script)
	cmd.Dir = dir
	var seen []gate.Call
	g, err := gate.New(cmd, func(c gate.Call) bool {
		if filepath.Dir(c.Path) != dir {
			return false
		}
		seen = append(seen, c)
		return keeper(c)
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := g.Watch(cmd.Process); err != nil {
		t.Fatal(err)
	}
	end := cmd.Wait()
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	return seen, end
}

const script = `echo one > f; echo two >> f; rm f; mkdir d`

func TestCallsAreSeenInOrder(t *testing.T) {
	dir := t.TempDir()
	seen, err := keep(t, dir, script, func(gate.Call) bool { return false })
	if err != nil {
		t.Fatal(err)
	}
	// rm is another program, whose calls are seen anyway.
	var names []string
	for _, c := range seen {
		names = append(names, c.Name+" "+filepath.Base(c.Path))
	}
	want := []string{"openat f", "write f", "openat f", "write f", "unlinkat f", "mkdir d"}
	if !slices.Equal(names, want) {
		t.Errorf("saw %q, want %q", names, want)
	}
	if _, err := os.Stat(filepath.Join(dir, "d")); err != nil {
		t.Error(err)
	}
}

func TestKilledBeforeTheCallHasAnyEffect(t *testing.T) {
	dir := t.TempDir()
	writes := 0
	_, err := keep(t, dir, script, func(c gate.Call) bool {
		if c.Name == "write" {
			writes++
		}
		return writes == 2
	})
	if err == nil || err.Error() != "signal: killed" {
		t.Errorf("the shell ended with %v, want a kill", err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "f")); err != nil || string(got) != "one\n" {
		t.Errorf("the file holds %q, %v, want what was written before the kill", got, err)
	}
}
