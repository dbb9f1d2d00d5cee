package assemble_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/boot"
	"github.com/berth-registry/berth/services/assemble"
	"github.com/berth-registry/berth/tools/testserver"
)

// envNode makes this test program a node by itself, which can be killed.
const envNode = "ASSEMBLE_TEST_NODE"

// runNode is the program then. Its settings are in its environment.
func runNode() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	l, err := boot.Load(boot.Sources{Environ: os.Environ()})
	if err != nil {
		return err
	}
	d, err := assemble.New(ctx, l.Config, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		return err
	}
	return d.Run(ctx)
}

// mortal is a node in a process of its own.
type mortal struct {
	data string // address of the data port
	// kill ends the process without warning, and it keeps its leases
	// until their time is over.
	kill func()
}

// startMortal starts a node on servers as a process of its own, and returns when
// it serves.
func startMortal(t *testing.T, c boot.Config) *mortal {
	t.Helper()
	addrs := make(map[string]string)
	for _, setting := range []string{"DATA", "ADMIN", "ADMIN_GRPC", "INTERNAL", "OPS"} {
		addrs[setting] = testserver.FreeAddr(t)
	}
	cmd := exec.Command(os.Args[0])
	forTests := func(v string) bool { return strings.HasPrefix(v, "BERTH_") }
	cmd.Env = append(slices.DeleteFunc(os.Environ(), forTests), envNode+"=1", "TMPDIR="+mortalTemp(t), "BERTH_DATA_DIR=",
		"BERTH_META="+c.Meta.Reveal(), "BERTH_BLOBS="+c.Blobs.Reveal(), "BERTH_REDIS="+c.Redis.Reveal(),
		"BERTH_OPERATOR_TOKEN="+c.OperatorToken.Reveal(), "BERTH_INTERNAL_KEY="+c.InternalKey.Reveal(), "BERTH_SECRET_KEY="+c.SecretKey.Reveal(),
		"BERTH_INTERNAL_URL=http://"+addrs["INTERNAL"], "BERTH_UPSTREAM_ALLOW=127.0.0.0/8")
	for setting, addr := range addrs {
		cmd.Env = append(cmd.Env, "BERTH_"+setting+"_ADDR="+addr)
	}
	cmd.Stderr = t.Output()
	m := &mortal{data: addrs["DATA"], kill: testserver.Run(t, cmd)}
	await.True(t, 30*time.Second, "the process to serve", func() bool {
		a, err := http.Get("http://" + addrs["OPS"] + "/readyz")
		if err != nil {
			return false
		}
		_ = a.Body.Close()
		return a.StatusCode == http.StatusOK
	})
	return m
}

// world is the deployment as those see it who reach this node.
func (m *mortal) world(t *testing.T) *world {
	t.Helper()
	return &world{data: m.data, client: clientOf(t, m.data)}
}

// mortalTemp is the directory of temporary files of all processes of a test, where no other
// test's process finds what they leave of fetches. It goes after the last of them.
func mortalTemp(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("berth-mortal-%d-%s", os.Getpid(), strings.ReplaceAll(t.Name(), "/", "-")))
	switch err := os.Mkdir(dir, 0o700); {
	case err == nil:
		t.Cleanup(func() {
			if err := os.RemoveAll(dir); err != nil {
				t.Error(err)
			}
		})
	case !errors.Is(err, fs.ErrExist):
		t.Fatal(err)
	}
	return dir
}
