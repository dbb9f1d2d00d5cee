package s3blob_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/blob/s3blob"
	"github.com/berth-registry/berth/pkg/dice"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/tools/testserver"
)

// A delete whose answer is lost, that comes twice, or that comes late, removes
// the object it names and no other.
func TestR32_LostDoubledAndLateDeletes(t *testing.T) {
	t.Parallel()
	s, p := openProxied(t, s3blob.Options{})
	old, next := newSession(t, s), newSession(t, s)
	want := ocitest.Noise(partBytes+1, 32)
	old.mustAppend(want)
	old.mustSeal(want)

	late := make(chan func(), 16)
	p.play("DeleteObject", done(func(w http.ResponseWriter, r *http.Request, pass func(http.ResponseWriter)) bool {
		pass(httptest.NewRecorder())
		select {
		case late <- func() { pass(httptest.NewRecorder()) }:
		default:
		}
		return cut(w, r, pass)
	}))
	if err := old.discard(); !isDown(err) {
		t.Errorf("delete without an answer: %v, want Unavailable", err)
	}
	p.play("DeleteObject", nil)
	if err := old.discard(); err != nil {
		t.Errorf("delete again: %v", err)
	}
	next.mustAppend(want) // the same blob comes again, under its own key
	next.mustSeal(want)
	for len(late) > 0 {
		(<-late)()
	}
	next.mustHold(want)
	if _, err := s.Stat(t.Context(), old.stage.Key); !errors.Is(err, blob.ErrMissing) {
		t.Errorf("stat of the deleted object: %v, want ErrMissing", err)
	}
}

// Uploads that end at any point, also between the start of a multipart upload
// and its record, leave nothing behind once their objects are deleted.
func TestR34_AbortedUploadsLeaveNothing(t *testing.T) {
	t.Parallel()
	s := open(t, testserver.S3(t), s3blob.Options{PartBytes: partBytes})
	r := rand.New(rand.NewPCG(dice.Seed(t), 34))
	content := ocitest.Noise(2*partBytes+1, 34)
	gone := errors.New("client is gone")
	count := func() int {
		n := 0
		err := s.List(t.Context(), func(o blob.Stored) error {
			n++
			if o.Foreign != "" || o.Changed.IsZero() {
				t.Errorf("listed %+v", o)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		return n
	}
	for range dice.Count(t, 1, 250) { // of 40 each: 10,000
		all := make([]*session, 40)
		for i := range all {
			x := newSession(t, s)
			all[i] = x
			x.forget = i%4 == 0
			n := r.IntN(len(content))
			if err := x.append(t.Context(), io.MultiReader(bytes.NewReader(content[:n]), failing{gone})); !errors.Is(err, gone) && !errors.Is(err, errForgotten) {
				t.Fatalf("append of %d bytes: %v", n, err)
			}
		}
		if count() == 0 {
			t.Fatal("the aborted uploads are not listed")
		}
		for _, x := range all {
			if err := x.discard(); err != nil {
				t.Error(err)
			}
		}
		if n := count(); n != 0 {
			t.Errorf("%d objects and uploads are left", n)
		}
	}
}

// failing is a reader that only fails.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// waiting is a client that sends no more until it is told to.
type waiting struct {
	arrived *sync.WaitGroup
	once    sync.Once
	goOn    <-chan struct{}
}

func (w *waiting) Read([]byte) (int, error) {
	w.once.Do(w.arrived.Done)
	<-w.goOn
	return 0, io.EOF
}

// Many open uploads hold many bytes and little memory: what does not fit lies
// in files without a name. A client beside them is served.
func TestR53_OpenUploadsAreBounded(t *testing.T) {
	const uploads, memory = 60, 8 << 20
	dir := t.TempDir()
	s := open(t, testserver.S3(t), s3blob.Options{PartBytes: partBytes, MemoryBytes: memory, SpoolDir: dir})
	content := ocitest.Noise(partBytes+partBytes*3/4, 53) // a part that goes, and most of one that stays
	before := heap()
	var arrived, ended sync.WaitGroup
	goOn := make(chan struct{})
	all := make([]*session, uploads)
	for i := range all {
		all[i] = newSession(t, s)
		arrived.Add(1)
		ended.Go(func() {
			if err := all[i].append(t.Context(), io.MultiReader(bytes.NewReader(content), &waiting{arrived: &arrived, goOn: goOn})); err != nil {
				t.Error(err)
			}
		})
	}
	arrived.Wait()
	// 64 KiB for each stream, as row R53 has it; the parts' memory is not of the
	// heap.
	if grown := heap() - before; grown > uploads*64<<10+16<<20 {
		t.Errorf("%d open uploads of %d bytes take %d MiB of the heap", uploads, len(content), grown>>20)
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) > 0 {
		t.Errorf("spooled files have names: %v, %v", names, err)
	}
	other := newSession(t, s)
	other.mustAppend(content)
	other.mustSeal(content)
	close(goOn)
	ended.Wait()
	for _, x := range all[:5] {
		x.mustSeal(content)
	}
}

// However many uploads there are, so many pieces are in flight at a time: the
// store sees no more, and all get through.
func TestR53_PiecesOnTheirWayAreBounded(t *testing.T) {
	t.Parallel()
	const uploads, most = 100, 64
	s, p := openProxied(t, s3blob.Options{})
	var mu sync.Mutex
	now, peak := 0, 0
	full := make(chan struct{})
	release := sync.OnceFunc(func() { close(full) })
	p.play("PutObject", func(w http.ResponseWriter, _ *http.Request, pass func(http.ResponseWriter)) bool {
		mu.Lock()
		now++
		peak = max(peak, now)
		if now == most {
			release()
		}
		mu.Unlock()
		<-full // so that all that may come have come
		pass(w)
		mu.Lock()
		now--
		mu.Unlock()
		return true
	})
	var all sync.WaitGroup
	for range uploads {
		x := newSession(t, s)
		all.Go(func() {
			if err := x.append(t.Context(), strings.NewReader("tail")); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	mu.Lock()
	defer mu.Unlock()
	if peak > most {
		t.Errorf("%d pieces were in flight, more than %d", peak, most)
	}
}

// heap is what is in use after a collection.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse)
}

func TestOpenNamesTheSetting(t *testing.T) {
	t.Parallel()
	good := testserver.S3(t)
	p := newProxy(t)
	p.play("PutObject", answer(http.StatusForbidden, "AccessDenied"))
	locked := newProxy(t)
	locked.play("HeadBucket", answer(http.StatusForbidden, ""))
	for name, c := range map[string]struct{ address, says string }{
		"missing":      {strings.Replace(good, "s3://", "s3://no-", 1), "does not exist"},
		"not writable": {p.address, "cannot be written to"},
		"locked":       {locked.address, "refuses the credentials"},
		"unreachable":  {"s3://bucket?endpoint=http://127.0.0.1:1&path_style=true", "cannot be reached"},
		"no parameter": {good + "&pathstyle=true", `unknown parameter "pathstyle"`},
		"not a switch": {"s3://bucket?path_style=perhaps", "path_style"},
		"no bucket":    {"s3://?region=x", "no bucket"},
		"a path":       {"s3://bucket/prefix", "only parameters may follow"},
		"a secret":     {"s3://key:hidden@bucket", "AWS_SECRET_ACCESS_KEY"},
		"a directory":  {"/var/lib/berth", "s3://"},
		"no endpoint":  {"s3://bucket?endpoint=127.0.0.1:9000", "the endpoint is not"},
		"no public":    {"s3://bucket?public_endpoint=s3.example.com", "public_endpoint"},
		"twice":        {"s3://bucket?region=a&region=b", "twice"},
	} {
		s, err := s3blob.Open(t.Context(), c.address, s3blob.Options{Backoff: time.Millisecond})
		if err == nil {
			t.Errorf("%s: opened, %v", name, s.Close())
			continue
		}
		if !strings.HasPrefix(err.Error(), "blobs: ") || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s: %q, want it to name blobs and say %q", name, err, c.says)
		}
	}
}

// A store that is closed fences its writers and takes no more.
func TestCloseFencesWriters(t *testing.T) {
	t.Parallel()
	s := open(t, testserver.S3(t), s3blob.Options{PartBytes: partBytes})
	x := newSession(t, s)
	var arrived sync.WaitGroup
	arrived.Add(1)
	goOn := make(chan struct{})
	result := make(chan error, 1)
	go func() {
		result <- x.append(context.Background(), &waiting{arrived: &arrived, goOn: goOn})
	}()
	arrived.Wait()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	close(goOn)
	if err := <-result; !errors.Is(err, blob.ErrFenced) {
		t.Errorf("append: %v, want ErrFenced", err)
	}
	if err := x.append(t.Context(), strings.NewReader("more")); !isDown(err) {
		t.Errorf("append to a closed store: %v, want Unavailable", err)
	}
}

func TestListReportsForeignKeys(t *testing.T) {
	t.Parallel()
	s, p := openProxied(t, s3blob.Options{})
	k := blob.Key{Tenant: 1, Incarnation: uuid.New()}
	p.play("ListObjectsV2", changed(func(h http.Header, b []byte) []byte {
		h.Del("Content-Length")
		return bytes.ReplaceAll(b, []byte("<Key>"+k.String()), []byte("<Key>backup/"+k.String()))
	}))
	if _, err := s.Seal(t.Context(), blob.Stage{Key: k}); err != nil {
		t.Fatal(err)
	}
	var listed []blob.Stored
	if err := s.List(t.Context(), func(o blob.Stored) error { listed = append(listed, o); return nil }); err != nil {
		t.Fatal(err)
	}
	if len(listed) != 1 || listed[0].Foreign != "backup/"+k.String() || listed[0].Key != (blob.Key{}) {
		t.Errorf("listed %+v", listed)
	}
}
