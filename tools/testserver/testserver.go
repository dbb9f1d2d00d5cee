// Package testserver starts the real servers that tests need, on free loopback
// ports and in private directories: one of each kind per test process, and
// servers of one test's own that it may stop, kill and pause.
//
// A test that needs a server which is not installed fails and says what to
// install; it is never skipped. A package that uses a server stops it in its
// TestMain:
//
//	func TestMain(m *testing.M) { testserver.Main(m) }
//
// A test process that dies before takes its servers with it.
package testserver

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/berth-registry/berth/tools/internal/port"
)

// patience is how long a server may take to start or to stop.
const patience = time.Minute

// stops end what was started, last first.
var stops struct {
	mu  sync.Mutex
	all []func() error
}

func atStop(f func() error) {
	stops.mu.Lock()
	defer stops.mu.Unlock()
	stops.all = append(stops.all, f)
}

// Stop ends all servers of this process and removes their directories.
func Stop() {
	stops.mu.Lock()
	defer stops.mu.Unlock()
	for i := len(stops.all) - 1; i >= 0; i-- {
		if err := stops.all[i](); err != nil {
			fmt.Fprintln(os.Stderr, "testserver:", err)
		}
	}
	stops.all = nil
}

// Main is the TestMain of a package. It ends the servers that the tests used, and
// fails where a goroutine outlives them.
func Main(m *testing.M, ignored ...goleak.Option) {
	goleak.VerifyTestMain(stopping{m}, ignored...)
}

// stopping are tests after which the servers end.
type stopping struct{ *testing.M }

func (s stopping) Run() int {
	defer Stop()
	return s.M.Run()
}

// FreeAddr is a loopback address, host:port, on which nothing listens: for what a
// test starts itself.
func FreeAddr(t testing.TB) string {
	t.Helper()
	addrs, err := port.Free(1)
	if err != nil {
		t.Fatal(err)
	}
	return addrs[0]
}

// freePort is a loopback port that nothing listens on.
func freePort() (int, error) {
	addrs, err := port.Free(1)
	if err != nil {
		return 0, err
	}
	_, number, err := net.SplitHostPort(addrs[0])
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(number)
}

// accepts reports whether a server takes connections at the address.
func accepts(addr string) func(context.Context) bool {
	return func(ctx context.Context) bool {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
		return err == nil && conn.Close() == nil
	}
}
