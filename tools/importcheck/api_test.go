package importcheck

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/modfile"
)

// clientModules is what a program that imports the api module builds: gRPC and the REST
// gateway. Databases, clouds and the rest of Berth stay out.
var clientModules = []string{
	module + "api",
	"github.com/grpc-ecosystem/grpc-gateway/v2",
	"golang.org/x/net",
	"golang.org/x/sys",
	"golang.org/x/text",
	"google.golang.org/genproto/googleapis/api",
	"google.golang.org/genproto/googleapis/rpc",
	"google.golang.org/grpc",
	"google.golang.org/protobuf",
}

func TestAPIModule_HasFewDependencies(t *testing.T) {
	list := exec.CommandContext(t.Context(), "go", "list", "-deps", "-test", "-f", "{{with .Module}}{{.Path}}{{end}}", "./...")
	list.Dir = "../../api"
	list.Env = append(os.Environ(), "GOWORK=off")
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Fields(string(out))
	slices.Sort(got)
	if got = slices.Compact(got); !slices.Equal(got, clientModules) {
		t.Errorf("the api module is built from\n%q, want\n%q", got, clientModules)
	}
}

// TestModules_AreInstallable holds what go install asks of the go.mod of a program:
// that it means the same to others as it does here.
func TestModules_AreInstallable(t *testing.T) {
	for _, name := range []string{"go.mod", "api/go.mod"} {
		text, err := os.ReadFile(filepath.Join("../..", name))
		if err != nil {
			t.Fatal(err)
		}
		file, err := modfile.Parse(name, text, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(file.Replace) > 0 || len(file.Exclude) > 0 {
			t.Errorf("%s has a replace or exclude directive: go install refuses it, and go.work is the place for it", name)
		}
	}
}
