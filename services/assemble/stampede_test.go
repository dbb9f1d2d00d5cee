package assemble_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/dice"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/tools/testserver"
)

// stampedeSeed makes a tenant whose main registry asks the upstream at the URL.
func stampedeSeed(url string) string {
	return testserver.CacheSeed(url) + `    service_accounts:
      - id: suite
        role: ADMIN
        keys: [{id: key, secret_file: secret}]
`
}

const stampedeHost = "acme.localhost"

// anyone is the upstream's repository as clients of each node see it.
func (w *world) anybody(t *testing.T, nodes ...*node) []repository {
	t.Helper()
	var all []repository
	for _, n := range nodes {
		at := w.through(t, n)
		all = append(all, repository{deployment{base: at.registry(stampedeHost), client: at.client}, testserver.ScriptedName})
	}
	return all
}

// TestE14_StampedeOnThreeNodes has very many clients pull one image that no client
// has pulled before, all at once and through three nodes. The upstream is asked
// once for each manifest and blob; where Redis is out or lies, at most once by
// each node (R16, R44). Every client gets every byte.
func TestE14_StampedeOnThreeNodes(t *testing.T) {
	clients := dice.Count(t, 60, 1000) // more at once than two processors with the race detector serve in time
	without := dice.Count(t, 30, 1000) // where Redis does not help
	idle := func(*testing.T) {}
	lying := func(m testserver.RedisMode) func(t *testing.T) (string, func(*testing.T)) {
		return func(t *testing.T) (string, func(*testing.T)) {
			l := testserver.StartLyingRedis(t, testserver.StartRedis(t).Addr())
			return l.URL(), func(t *testing.T) { l.SetMode(t, m) }
		}
	}
	for _, c := range []struct {
		name  string
		redis func(t *testing.T) (url string, before func(*testing.T))
		most  int // requests for each manifest and blob
	}{
		{"with Redis", func(t *testing.T) (string, func(*testing.T)) { return testserver.StartRedis(t).URL(), idle }, 1},
		{"without Redis", func(*testing.T) (string, func(*testing.T)) { return "", idle }, 3},
		{"Redis grants all", lying(testserver.RedisGrantAll), 3},
		{"Redis denies all", lying(testserver.RedisDenyAll), 3},
		{"Redis is cut off", lying(testserver.RedisRefused), 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			up := testserver.StartScripted(t)
			url, before := c.redis(t)
			w := startWhole(t, stampedeSeed(up.URL()), url, chained)
			before(t)
			n := clients
			if c.most > 1 {
				n = without
			}
			stampede(t, w, up, n, idle).within(t, c.most)
			w.stop(t)
			w.wantSound(t)
		})
	}
	t.Run("Redis is killed meanwhile", func(t *testing.T) {
		up, redis := testserver.StartScripted(t), testserver.StartRedis(t)
		w := startWhole(t, stampedeSeed(up.URL()), redis.URL(), chained)
		stampede(t, w, up, without, func(t *testing.T) {
			await.True(t, 30*time.Second, "a blob to be asked for", func() bool { return up.Count("", "/v2/"+testserver.ScriptedName+"/blobs/*") > 0 })
			redis.Kill()
		}).within(t, 3)
		w.stop(t)
		w.wantSound(t)
	})
}

// asked is how often the upstream was asked for each manifest and blob.
type asked map[string]int

func (a asked) within(t *testing.T, most int) {
	t.Helper()
	for path, n := range a {
		if n < 1 || n > most {
			t.Errorf("GET %s came %d times, want 1 to %d", path, n, most)
		}
	}
}

// stampede has the clients pull the upstream's image at once through the nodes,
// in turn, while something happens.
func stampede(t *testing.T, w *world, up *testserver.Scripted, clients int, meanwhile func(*testing.T)) asked {
	t.Helper()
	img := ocitest.NewImage(7, 1000, 300_000, 600_000)
	up.Push(testserver.ScriptedName, img, testserver.ScriptedTag)
	up.SetLatency(200 * time.Millisecond) // clients pile up
	nodes := w.anybody(t, w.nodes...)
	var failed, got atomic.Int64
	var all sync.WaitGroup
	began := time.Now()
	for i := range clients {
		all.Go(func() {
			if err := nodes[i%len(nodes)].pull(testserver.ScriptedTag, img); err != nil {
				if failed.Add(1) <= 3 {
					t.Errorf("client %d: %v", i, err)
				}
				return
			}
			for _, b := range img.Blobs() {
				got.Add(int64(len(b.Bytes)))
			}
		})
	}
	meanwhile(t)
	all.Wait()
	took := time.Since(began)
	a := asked{}
	base := "/v2/" + testserver.ScriptedName
	for _, path := range append(blobPaths(base, img), base+"/manifests/"+testserver.ScriptedTag, base+"/manifests/"+img.Manifest.Digest.String()) {
		a[path] = up.Count(http.MethodGet, path)
	}
	if n := failed.Load(); n > 0 {
		t.Errorf("%d of %d clients failed", n, clients)
	}
	if n := up.Count(http.MethodHead, "*"); n > 0 {
		t.Errorf("%d HEAD", n)
	}
	total := 0
	for _, n := range a {
		total += n
	}
	t.Logf("%d clients, %d MB in %s: %d GET for %d manifests and blobs, %d requests in all",
		clients, got.Load()>>20, took.Round(time.Millisecond), total, len(a), up.Count("", "*"))
	return a
}

func blobPaths(base string, img ocitest.Image) []string {
	var paths []string
	for _, b := range img.Blobs() {
		paths = append(paths, base+"/blobs/"+b.Digest.String())
	}
	return paths
}

// TestR43_NodeIsKilledWhileOthersReadFromIt kills the node that fetches a blob,
// without a word: the clients of the others have half of it from there, get the
// rest, and the upstream is asked once more at most, for what they lack (contract row T23).
func TestR43_NodeIsKilledWhileOthersReadFromIt(t *testing.T) {
	up := testserver.StartScripted(t)
	img := ocitest.NewImage(8, 8<<20)
	up.Push(testserver.ScriptedName, img, "1")
	layer := img.Layers[0]
	c := servers(t, testserver.StartRedis(t).URL())
	chained(&c)
	living := []*node{startNode(t, reachable(t, seeded(t, c, stampedeSeed(up.URL())))), startNode(t, reachable(t, c))}
	doomed := startMortal(t, c)
	w := &world{nodes: living}
	others := w.anybody(t, living...)
	for _, r := range others { // they know what its size is to be
		r.get(t, r.at("manifests/1")).want(t, http.StatusOK)
		r.get(t, r.at("manifests/%s", img.Manifest.Digest)).want(t, http.StatusOK)
	}
	up.Play(testserver.Script{Fault: testserver.FaultStallInBody, On: []testserver.Part{testserver.PartBlobs}, Times: 1})
	path := "/v2/" + testserver.ScriptedName + "/blobs/" + layer.Digest.String()

	there := doomed.world(t)
	first := repository{deployment{base: there.registry(stampedeHost), client: there.client}, testserver.ScriptedName}
	var dead, alive sync.WaitGroup
	dead.Go(func() {
		if err := drink(first, layer.Digest, layer.Bytes, nil); err == nil {
			t.Error("a client of the node that died has it all")
		}
	})
	await.True(t, 30*time.Second, "the upstream to be asked", func() bool { return up.Count(http.MethodGet, path) == 1 })
	const clients = 20
	begun := make([]atomic.Bool, len(others)*clients)
	for i := range begun {
		alive.Go(func() {
			if err := drink(others[i%len(others)], layer.Digest, layer.Bytes, &begun[i]); err != nil {
				t.Errorf("client %d: %v", i, err)
			}
		})
	}
	await.True(t, 30*time.Second, "all to have begun", func() bool {
		for i := range begun {
			if !begun[i].Load() {
				return false
			}
		}
		return true
	})
	if n := up.Count(http.MethodGet, path); n != 1 {
		t.Errorf("the upstream was asked %d times before the node died", n)
	}
	doomed.kill()
	died, rest := time.Now(), ""
	dead.Wait()
	alive.Wait()
	n := up.Count(http.MethodGet, path)
	t.Logf("%d clients of 2 nodes had every byte %s after the third died; %d GET of the blob", len(begun), time.Since(died).Round(time.Millisecond), n)
	if n > 2 {
		t.Errorf("the upstream was asked %d times, want 2", n)
	}
	for _, r := range up.Requests()[1:] {
		if r.Path == path && r.Method == http.MethodGet && r.Header.Get("Range") != "" {
			rest = r.Header.Get("Range")
		}
	}
	if rest == "" {
		t.Error("the upstream was asked for the whole blob again")
	}
	for _, n := range living {
		n.stop(t)
	}
	w.wantSound(t)
}

// drink reads a blob and compares it while it comes; begun is set at its first
// byte.
func drink(r repository, d oci.Digest, want []byte, begun *atomic.Bool) error {
	res, err := r.client.Get(r.base + r.at("blobs/%s", d))
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", res.StatusCode)
	}
	piece, at := make([]byte, 32<<10), 0
	for {
		n, err := res.Body.Read(piece)
		if n > 0 && begun != nil {
			begun.Store(true)
		}
		if !bytes.HasPrefix(want[at:], piece[:n]) {
			return fmt.Errorf("other bytes at %d", at)
		}
		at += n
		switch {
		case err == io.EOF && at == len(want):
			return nil
		case err != nil:
			return fmt.Errorf("after %d bytes: %w", at, err)
		}
	}
}
