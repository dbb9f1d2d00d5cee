package clusterrun

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/berth-registry/berth/tools/testserver"
)

// binary is the berth that the tests run.
var binary string

func TestMain(m *testing.M) {
	flag.StringVar(&binary, "berth", "", "the server's binary; empty builds one")
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	defer testserver.Stop()
	if binary != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "clusterrun")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "berth")
	if out, err := exec.Command("go", "build", "-o", binary, "../../services/berth").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%v\n%s", err, out)
		return 1
	}
	return m.Run()
}
