package fetch_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/lease"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/fronttest"
	"github.com/berth-registry/berth/services/proxy/fetch"
	"github.com/berth-registry/berth/tools/testserver"
)

// TestMain sees to it that no goroutine of a flight outlives the tests.
func TestMain(m *testing.M) { testserver.Main(m) }

// held is how many bytes readers get only at the end.
const held = 64 << 10

// world is one store with the cache of an upstream in it.
type world struct {
	*fronttest.Deployment
	t    testing.TB
	repo meta.Repo
	held map[oci.Digest]bool // that mustHold found
}

func newWorld(t testing.TB) world {
	t.Helper()
	w := world{Deployment: fronttest.New(t), t: t, held: map[oci.Digest]bool{}}
	w.repo = w.cacheOf("acme")
	return w
}

// cacheOf makes a tenant with an upstream.
func (w world) cacheOf(slug string) meta.Repo {
	w.t.Helper()
	site := w.Tenant(slug, tenant.Settings{})
	u, err := w.Meta.CreateUpstream(w.t.Context(), fronttest.By(), meta.Upstream{
		Tenant: site.Tenant, Slug: "hub", Settings: meta.UpstreamSettings{UpstreamTarget: meta.UpstreamTarget{URL: "https://hub.example"}},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return meta.Repo{Tenant: u.Tenant, Registry: u.Cache, Name: "library/app"}
}

func (w world) target(content []byte) fetch.Target {
	return fetch.Target{Repo: w.repo, Digest: oci.DigestOf(oci.SHA256, content), Size: int64(len(content))}
}

// node is a process on the store. Its flights end with the test.
func (w world) node(change func(*fetch.Config)) *fetch.Fetches {
	w.t.Helper()
	c := fetch.Config{Meta: w.Meta, Blobs: w.Blobs, Leases: lease.NewMemory(), Dir: w.t.TempDir(), Log: w.Log}
	if change != nil {
		change(&c)
	}
	f := fetch.New(c)
	w.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := f.Close(ctx); err != nil {
			w.t.Error(err)
		}
	})
	return f
}

// settle ends a node, so that nothing is in flight any more.
func (w world) settle(nodes ...*fetch.Fetches) {
	w.t.Helper()
	for _, f := range nodes {
		if err := f.Close(context.WithoutCancel(w.t.Context())); err != nil {
			w.t.Fatal(err)
		}
	}
}

// mustHold expects the repository to have the blob, byte for byte, after which
// nothing is staged and no invariant broken.
func (w world) mustHold(content []byte) {
	w.t.Helper()
	b, err := w.Meta.FindBlob(w.t.Context(), w.repo, oci.DigestOf(oci.SHA256, content))
	if err != nil {
		w.t.Fatal(err)
	}
	c, err := w.Blobs.Open(w.t.Context(), b.Key)
	if err != nil {
		w.t.Fatal(err)
	}
	defer c.Close()
	if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, content) || b.Size != int64(len(content)) {
		w.t.Fatalf("stored: %d bytes, the row says %d, %v; want %d, equal", len(got), b.Size, err, len(content))
	}
	w.held[b.Digest] = true
	w.mustBeClean()
}

// mustLack expects nothing to be kept.
func (w world) mustLack(content []byte) {
	w.t.Helper()
	if b, err := w.Meta.FindBlob(w.t.Context(), w.repo, oci.DigestOf(oci.SHA256, content)); !fault.Is(err, fault.BlobUnknown) {
		w.t.Fatalf("the repository has %v, %v", b, err)
	}
	w.mustBeClean()
}

// mustBeClean is what fsck looks at: no broken invariant, nothing staged, and no
// object lives but those of the blobs that mustHold found.
func (w world) mustBeClean() {
	w.t.Helper()
	if err := w.Meta.CheckRows(w.t.Context(), func(f meta.Finding) { w.t.Errorf("fsck: %v", f) }); err != nil {
		w.t.Fatal(err)
	}
	rows, err := w.Meta.ListObjects(w.t.Context(), blob.Key{}, 1000)
	if err != nil {
		w.t.Fatal(err)
	}
	live := len(w.held)
	for _, r := range rows {
		switch r.State {
		case 'L':
			live--
		case 'S':
			w.t.Errorf("object %s stays staged", r.Key)
		}
	}
	if live != 0 {
		w.t.Errorf("there are %d live objects, not %d", len(w.held)-live, len(w.held))
	}
}

// source is an upstream that counts how often it is asked; say answers, always from the
// first byte.
type source struct {
	mu    sync.Mutex
	asked int
	say   func(ctx context.Context, call int) (io.Reader, int64, error)
}

func (s *source) Open(ctx context.Context, _ int64) (fetch.Part, error) {
	s.mu.Lock()
	s.asked++
	call := s.asked
	s.mu.Unlock()
	r, size, err := s.say(ctx, call)
	if err != nil {
		return fetch.Part{}, err
	}
	return fetch.Part{Body: io.NopCloser(r), Size: size}, nil
}

func (s *source) calls() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// gives is an upstream that gives the same always.
func gives(content []byte) *source {
	return &source{say: func(context.Context, int) (io.Reader, int64, error) {
		return bytes.NewReader(content), int64(len(content)), nil
	}}
}

// fed is an upstream whose bytes the test gives one by one.
type fed struct {
	*source
	feed *io.PipeWriter
}

func newFed(size int64) fed {
	r, w := io.Pipe()
	return fed{feed: w, source: &source{say: func(ctx context.Context, call int) (io.Reader, int64, error) {
		if call > 1 {
			return nil, 0, errDown
		}
		context.AfterFunc(ctx, func() { r.CloseWithError(context.Cause(ctx)) })
		return r, size, nil
	}}}
}

func (f fed) give(t testing.TB, p []byte) {
	t.Helper()
	if _, err := f.feed.Write(p); err != nil {
		t.Errorf("the source is not read: %v", err)
	}
}

var errDown = fault.New(fault.BadUpstream, fault.UnavailableReason, "the upstream is down")

// read reads a blob from a node.
func read(ctx context.Context, f *fetch.Fetches, t fetch.Target, s *source) ([]byte, error) {
	c, err := f.Open(ctx, t, s.Open)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	got, err := io.ReadAll(c)
	if err == nil && int64(len(got)) != c.Size() {
		err = errors.New("it has another size than it says")
	}
	return got, err
}

func mustRead(t testing.TB, f *fetch.Fetches, target fetch.Target, s *source, want []byte) {
	t.Helper()
	if got, err := read(t.Context(), f, target, s); err != nil || !bytes.Equal(got, want) {
		t.Errorf("read %d bytes of %d, equal %v: %v", len(got), len(want), bytes.Equal(got, want), err)
	}
}

// bytesOf is content that differs everywhere.
func bytesOf(n int) []byte { return ocitest.Noise(n, uint64(n)) }
