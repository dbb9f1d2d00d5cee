package assemble_test

import (
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	imagespec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/berth-registry/berth/pkg/dice"
	"github.com/berth-registry/berth/tools/testserver"
)

// TestE14_ColdAndWarm measures what a chain costs: the first byte of content
// that no one pulled before against asking the upstream directly, near and as far
// away as upstreams are, a large blob as it comes, and what is kept against what
// is hosted. Figures are printed and not judged; content and counts are.
func TestE14_ColdAndWarm(t *testing.T) {
	large := int64(dice.Count(t, 128, 1024)) << 20
	seed := dice.Seed(t)
	up := testserver.StartRegistry(t, testserver.RegistryOptions{})
	w := startEmbedded(t, stampedeSeed(up.URL()), chained)
	const name = "library/large"
	theirs := repository{deployment{base: up.Direct(), client: http.DefaultClient}, name}
	direct := repository{deployment{base: up.URL(), client: http.DefaultClient}, name}
	through := repository{deployment{base: w.registry(stampedeHost), client: w.client}, name}

	const tries = 9
	for i, latency := range []time.Duration{0, 30 * time.Millisecond} {
		up.SetLatency(latency)
		var there, here []time.Duration
		for n := range tries {
			b := generate(seed+uint64(i*tries+n), 8<<20)
			theirs.pushGenerated(t, b)
			through.get(t, through.at("manifests/%s", b.tag())).want(t, http.StatusOK) // so do clients
			first, _ := direct.drain(t, b)
			there = append(there, first)
			first, _ = through.drain(t, b)
			here = append(here, first)
		}
		slices.Sort(there)
		slices.Sort(here)
		a, b := there[tries/2], here[tries/2]
		t.Logf("first byte, upstream %s away: directly %s, cold through Berth %s: %.2f times", latency, a, b, float64(b)/float64(a))
	}

	up.SetLatency(0)
	b := generate(seed+1000, large)
	theirs.pushGenerated(t, b)
	through.get(t, through.at("manifests/%s", b.tag())).want(t, http.StatusOK)
	report := func(what string, r repository) {
		t.Helper()
		first, whole := r.drain(t, b)
		t.Logf("%s: %d MiB in %s, %.0f MiB/s, the first byte after %s",
			what, large>>20, whole.Round(time.Millisecond), float64(large>>20)/whole.Seconds(), first)
	}
	report("directly", direct)
	report("cold", through)
	if n := up.Count(http.MethodGet, "/v2/"+name+"/blobs/"+b.Digest.String()); n != 2 {
		t.Errorf("the upstream was asked %d times, want once directly and once by Berth", n)
	}
	hosted := w.repository(stampedeHost, "suite", "team/large")
	hosted.pushGenerated(t, b)
	hosted.client = through.client
	for range 3 {
		report("warm", through)
		report("hosted", hosted)
	}
	w.stop(t)
	w.wantSound(t)
}

// pushGenerated pushes an image of one layer.
func (r repository) pushGenerated(t *testing.T, b generated) {
	t.Helper()
	target := withQuery(t, r.start(t, "").location(t), "digest", b.Digest.String())
	r.send(t, request{method: http.MethodPut, target: target, header: headers("Content-Type", typeBytes), stream: b.reader()}).want(t, http.StatusCreated)
	config := r.blobOf(t, typeConfig, fmt.Appendf(nil, `{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[%q]}}`, b.Digest))
	r.putManifest(t, b.tag(), encode(t, typeImage, imageOf(config, b.Descriptor))).want(t, http.StatusCreated)
}

// drain reads a blob, and says when its first byte and its last one came.
func (r repository) drain(t *testing.T, b generated) (time.Duration, time.Duration) {
	t.Helper()
	began := time.Now()
	res, err := r.client.Get(r.base + r.at("blobs/%s", b.Digest))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	one := make([]byte, 1)
	if _, err := io.ReadFull(res.Body, one); err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s of %s: status %d, %v", b.Digest, r.base, res.StatusCode, err)
	}
	first := time.Since(began)
	hash := sha256.New()
	_, _ = hash.Write(one) // never fails
	if _, err := io.Copy(hash, res.Body); err != nil {
		t.Fatal(err)
	}
	if got := digest.NewDigest(digest.SHA256, hash); got != b.Digest {
		t.Fatalf("%s: %s is something else", b.Digest, got)
	}
	return first, time.Since(began)
}

// generated is a blob that is not held in memory.
type generated struct {
	imagespec.Descriptor
	seed uint64
}

func generate(seed uint64, size int64) generated {
	g := generated{imagespec.Descriptor{MediaType: typeLayer, Size: size}, seed}
	hash := sha256.New()
	if _, err := io.Copy(hash, g.reader()); err != nil {
		panic(err) // neither of them fails
	}
	g.Digest = digest.NewDigest(digest.SHA256, hash)
	return g
}

// tag is that of an image of it.
func (g generated) tag() string { return fmt.Sprintf("v%d", g.seed) }

// reader reads it from the beginning.
func (g generated) reader() io.Reader {
	var seed [32]byte
	for i := range 8 {
		seed[i] = byte(g.seed >> (8 * i))
	}
	return io.LimitReader(rand.NewChaCha8(seed), g.Size)
}
