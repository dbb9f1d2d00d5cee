package pgmeta

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/dice"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/tools/testserver"
)

// ledger is what pushers were told.
type ledger struct {
	t *testing.T
	s *Store
	r meta.Repo

	pushed, refused atomic.Int64
	mu              sync.Mutex
	acked           []string // contents
}

// begin starts pushers, each of its own images, until the function it returns
// is called. Every refusal must be an outage.
func (l *ledger) begin(pushers int) func() {
	stop := make(chan struct{})
	var all sync.WaitGroup
	for i := range pushers {
		all.Go(func() {
			again := time.NewTicker(20 * time.Millisecond) // a client that is told to come again does not do so at once
			defer again.Stop()
			for n := 0; ; n++ {
				if !l.push(fmt.Sprintf("%d/%d/%s", i, n, uuid.New())) {
					<-again.C
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	return sync.OnceFunc(func() {
		close(stop)
		all.Wait()
	})
}

// push says whether it was acknowledged.
func (l *ledger) push(content string) bool {
	err := tryPushImage(l.s, l.r, content)
	switch {
	case err == nil:
		l.mu.Lock()
		l.acked = append(l.acked, content)
		l.mu.Unlock()
		l.pushed.Add(1)
	case fault.KindOf(err) == fault.Unavailable:
		l.refused.Add(1)
	default:
		l.t.Errorf("a push during an outage: %v", err)
	}
	return err == nil
}

// more waits until n more pushes were acknowledged, and says how long it took.
func (l *ledger) more(n int64) time.Duration {
	l.t.Helper()
	began, goal := time.Now(), l.pushed.Load()+n
	await.True(l.t, time.Minute, "pushes are acknowledged", func() bool {
		if l.t.Failed() {
			l.t.FailNow()
		}
		return l.pushed.Load() >= goal
	})
	return time.Since(began)
}

// lost are those of the acknowledged pushes that cannot be read any more.
func (l *ledger) lost() []string {
	l.t.Helper()
	var lost []string
	for _, content := range l.acked {
		m, errTag := l.s.FindManifest(l.t.Context(), l.r, oci.Reference{Tag: "t" + digestHex(content)})
		_, errBlob := l.s.FindBlob(l.t.Context(), l.r, digestOf(content))
		switch {
		case errTag == nil && errBlob == nil:
			if want := imagePut(l.r, content, "t"+digestHex(content)).Manifest.Digest; m.Digest != want {
				l.t.Errorf("the tag of %q points to %s, want %s", content, m.Digest, want)
			}
		case fault.KindOf(errTag) == fault.NotFound || fault.KindOf(errBlob) == fault.NotFound:
			lost = append(lost, content)
		default:
			l.t.Errorf("reading %q: %v", content, errors.Join(errTag, errBlob))
		}
	}
	return lost
}

func (l *ledger) wantNothingLost() {
	l.t.Helper()
	if lost := l.lost(); len(lost) != 0 {
		l.t.Errorf("%d of %d acknowledged pushes are lost: %q", len(lost), len(l.acked), lost)
	}
	if found := findings(l.t, l.s); len(found) != 0 {
		l.t.Errorf("findings: %q", found)
	}
	l.t.Logf("%d pushes acknowledged, %d refused", l.pushed.Load(), l.refused.Load())
}

// TestR20_RestartsUnderLoad: the server is stopped without a checkpoint again
// and again while others push.
func TestR20_RestartsUnderLoad(t *testing.T) {
	t.Parallel() // it waits for a server of its own most of the time
	server := testserver.StartPostgres(t)
	s, r := onServer(t, server, Options{})
	l := &ledger{t: t, s: s, r: r}
	end := l.begin(3)
	defer end()
	var slowest time.Duration
	for range dice.Count(t, 20, 200) {
		l.more(3)
		server.Restart()
		slowest = max(slowest, l.more(1))
	}
	end()
	if slowest > 5*time.Second {
		t.Errorf("back %s after the server", slowest)
	}
	t.Logf("back after the server: %s at most", slowest)
	l.wantNothingLost()
}

// both is a URL that names two servers.
func both(first, second *testserver.PostgresServer) string {
	return asNode(strings.Replace(first.URL(), first.Addr(), first.Addr()+","+second.Addr(), 1))
}

// TestR21_FailoverToASynchronousStandby: the primary is killed while others
// push, the standby takes its place, and the old primary comes back fenced.
func TestR21_FailoverToASynchronousStandby(t *testing.T) {
	for round := range dice.Count(t, 1, 20) {
		t.Run(fmt.Sprint(round), func(t *testing.T) {
			primary := testserver.StartPostgres(t)
			primary.Exec(`CREATE ROLE node LOGIN`)
			primary.Exec(`ALTER DATABASE berth OWNER TO node`)
			standby := primary.Standby(true)
			// The standby comes first in the URL, and is passed over.
			s, r := filled(t, Options{URL: both(standby, primary)})
			if err := s.CheckDurable(t.Context()); err != nil {
				t.Error(err)
			}
			l := &ledger{t: t, s: s, r: r}
			end := l.begin(6)
			defer end()
			l.more(50)
			primary.Kill()
			killed := time.Now()
			standby.Promote()
			promoted := time.Now()
			l.more(1)
			t.Logf("back %s after the kill, %s after the promotion", time.Since(killed), time.Since(promoted))
			if took := time.Since(promoted); took > 5*time.Second {
				t.Errorf("back %s after the promotion", took)
			}
			l.more(20)
			end()
			l.wantNothingLost()

			// The old one is back, and takes no writes. No node uses it, though it
			// is asked first.
			config, err := os.OpenFile(filepath.Join(primary.Dir(), "postgresql.auto.conf"), os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			_, err = io.WriteString(config, "default_transaction_read_only = on\nsynchronous_standby_names = ''\n")
			if err := errors.Join(err, config.Close()); err != nil {
				t.Fatal(err)
			}
			primary.Start()
			again := open(t, Options{URL: both(primary, standby)})
			s.pool.Reset()
			for _, node := range []*Store{s, again} {
				l.s = node
				for i := range 5 {
					l.push(fmt.Sprintf("after the failover %p/%d", node, i))
				}
				l.wantNothingLost()
			}
			if l.refused.Load() > 0 {
				t.Logf("%d refused", l.refused.Load())
			}
		})
	}
}

// TestR21_ANodeLeavesAServerThatTakesNoWritesAnyMore: the old primary is
// fenced while nodes are connected to it.
func TestR21_ANodeLeavesAServerThatTakesNoWritesAnyMore(t *testing.T) {
	t.Parallel() // it waits for a server of its own most of the time
	primary := testserver.StartPostgres(t)
	primary.Exec(`CREATE ROLE node LOGIN`)
	primary.Exec(`ALTER DATABASE berth OWNER TO node`)
	standby := primary.Standby(true)
	s, r := filled(t, Options{URL: both(primary, standby)})
	primary.Exec(`ALTER SYSTEM SET default_transaction_read_only = on`)
	primary.Exec(`SELECT pg_reload_conf()`)
	standby.Promote()
	l := &ledger{t: t, s: s, r: r}
	end := l.begin(2)
	defer end()
	l.more(10)
	end()
	l.wantNothingLost()
}

// TestR22_FailoverToAnAsynchronousStandby: what the standby had not got is lost,
// as was chosen, and fsck tells of exactly that; nothing else is lost, and no row
// points to bytes that are gone, since they outlive their rows.
func TestR22_FailoverToAnAsynchronousStandby(t *testing.T) {
	t.Parallel() // it waits for a server of its own most of the time
	const pushes = 20
	primary := testserver.StartPostgres(t)
	primary.Exec(`CREATE ROLE node LOGIN`)
	primary.Exec(`ALTER DATABASE berth OWNER TO node`)
	standby := primary.Standby(false)
	s, r := filled(t, Options{URL: both(primary, standby)})
	f := newFiles(t)
	f.push(s, r, "config") // which filled had without bytes
	for i := range pushes {
		f.push(s, r, fmt.Sprintf("replicated %d", i))
	}
	primary.AwaitStandby()
	standby.StopImmediate() // from here on, nothing reaches it
	for i := range pushes {
		f.push(s, r, fmt.Sprintf("not replicated %d", i))
	}
	f.deleteImage(s, r, "replicated 0")
	primary.Kill()
	standby.Start()
	standby.Promote()

	lost := 0
	for i := range pushes {
		if !f.has(s, r, fmt.Sprintf("replicated %d", i)) {
			t.Errorf("image %d is lost, although it was replicated", i)
		}
		if !f.has(s, r, fmt.Sprintf("not replicated %d", i)) {
			lost++
		}
	}
	dangling, unknown := f.check(s)
	if lost != pushes || unknown != lost || dangling != 0 {
		t.Errorf("%d pushes are lost; fsck finds %d objects that no row knows and %d dangling rows", lost, unknown, dangling)
	}
	if found := findings(t, s); len(found) != 0 {
		t.Errorf("findings: %q", found)
	}
	f.push(s, r, "after the failover")
}
