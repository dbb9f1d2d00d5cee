package fetch_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/faketime"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/services/proxy/fetch"
)

// ranged is an upstream that sends content from the byte that it is asked for.
type ranged struct {
	content []byte
	whole   bool // it sends all
	down    bool
	asked   []int64
}

func (r *ranged) open(_ context.Context, from int64) (fetch.Part, error) {
	r.asked = append(r.asked, from)
	if r.down {
		return fetch.Part{}, errDown
	}
	if r.whole {
		from = 0
	}
	return fetch.Part{Body: io.NopCloser(bytes.NewReader(r.content[from:])), From: from, Size: int64(len(r.content))}, nil
}

func (r *ranged) read(t *testing.T, f *fetch.Fetches, target fetch.Target) ([]byte, error) {
	t.Helper()
	c, err := f.Open(t.Context(), target, r.open)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return io.ReadAll(c)
}

func (r *ranged) mustRead(t *testing.T, f *fetch.Fetches, target fetch.Target, from ...int64) {
	t.Helper()
	r.asked = nil
	if got, err := r.read(t, f, target); err != nil || !bytes.Equal(got, r.content) {
		t.Errorf("read %d bytes of %d, equal %v: %v", len(got), len(r.content), bytes.Equal(got, r.content), err)
	}
	if len(r.asked) != len(from) || len(from) > 0 && r.asked[0] != from[0] {
		t.Errorf("asked from %d, not from %d", r.asked, from)
	}
}

const came = 200_000 // bytes of the content before a fetch is cut

// cut leaves, in dir, a fetch of which so much had come.
func (w world) cut(dir string, content []byte) {
	w.t.Helper()
	var held atomic.Int64
	f := w.node(func(c *fetch.Config) { c.Dir, c.Held = dir, func(n int64) { held.Add(n) } })
	up := newFed(int64(len(content)))
	done := make(chan error, 1)
	go func() {
		_, err := read(context.Background(), f, w.target(content), up.source)
		done <- err
	}()
	up.give(w.t, content[:came])
	await.True(w.t, time.Minute, "the bytes are written", func() bool { return held.Load() == came })
	at, cancel := context.WithCancel(w.t.Context())
	cancel()
	if err := f.Close(at); err == nil {
		w.t.Fatal("the fetch was not cut")
	}
	if err := <-done; err == nil {
		w.t.Fatal("the reader had all")
	}
}

// left are the files of what has arrived of blobs.
func left(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "berth-inflight-*"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestW242_ACutFetchIsContinued(t *testing.T) {
	w, dir := newWorld(t), t.TempDir()
	for name, whole := range map[string]bool{"by a range": false, "by all of it": true} {
		content := ocitest.Noise(300_000, uint64(len(name)))
		w.cut(dir, content)
		if files := left(t, dir); len(files) != 1 {
			t.Fatalf("%s: left is %q", name, files)
		}
		var held atomic.Int64
		f := w.node(func(c *fetch.Config) { c.Dir, c.Held = dir, func(n int64) { held.Add(n) } })
		if held.Load() != came {
			t.Errorf("%s: the room knows of %d bytes", name, held.Load())
		}
		up := &ranged{content: content, whole: whole}
		up.mustRead(t, f, w.target(content), came)
		w.settle(f)
		w.mustHold(content)
		if files := left(t, dir); len(files) > 0 || held.Load() != 0 {
			t.Errorf("%s: afterwards left is %q, and the room knows of %d bytes", name, files, held.Load())
		}
	}
}

// TestW242_OnlyTheSameBlobIsContinued: not in another repository, cache or size. What
// is not continued stays for the next process.
func TestW242_OnlyTheSameBlobIsContinued(t *testing.T) {
	w, dir := newWorld(t), t.TempDir()
	content := ocitest.Noise(300_000, 1)
	w.cut(dir, content)
	up := &ranged{content: content}
	f := w.node(func(c *fetch.Config) { c.Dir = dir })
	elsewhere, foreign, other := w.target(content), w.target(content), w.target(content)
	elsewhere.Repo.Name = "library/other"
	foreign.Repo = w.cacheOf("beta")
	other.Digest = w.target([]byte("another")).Digest
	up.mustRead(t, f, elsewhere, 0)
	up.mustRead(t, f, foreign, 0)
	if _, err := up.read(t, f, other); !fault.Is(err, fault.DigestInvalid) {
		t.Errorf("another blob: %v", err)
	}
	other = w.target(content)
	other.Size--
	up.asked = nil
	if _, err := up.read(t, f, other); !fault.Is(err, fault.SizeInvalid) || up.asked[0] != 0 {
		t.Errorf("another size: asked from %d, %v", up.asked, err)
	}
	w.settle(f)
	f = w.node(func(c *fetch.Config) { c.Dir = dir })
	target := w.target(content)
	target.Size = -1 // it is known from before
	up.mustRead(t, f, target, came)
}

// TestW242_AnUpstreamThatIsDownLosesNothing: the reader is told at once, and the next one continues.
func TestW242_AnUpstreamThatIsDownLosesNothing(t *testing.T) {
	w, dir := newWorld(t), t.TempDir()
	content := ocitest.Noise(300_000, 1)
	w.cut(dir, content)
	f := w.node(func(c *fetch.Config) { c.Dir = dir })
	up := &ranged{content: content, down: true}
	if _, err := up.read(t, f, w.target(content)); !fault.Is(err, fault.UnavailableReason) {
		t.Errorf("the upstream is down: %v", err)
	}
	up.down = false
	up.mustRead(t, f, w.target(content), came)
}

// TestW243_WhatIsLeftMayBeDamaged: nothing wrong is stored or read to its end, and the next reader
// begins with the first byte.
func TestW243_WhatIsLeftMayBeDamaged(t *testing.T) {
	w, dir := newWorld(t), t.TempDir()
	content := ocitest.Noise(300_000, 1)
	for name, damage := range map[string]func(path string) error{
		"a changed byte": func(path string) error {
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = f.WriteAt([]byte{^content[1000]}, 1000)
			return err
		},
		"zeros at its end": func(path string) error { return os.Truncate(path, came+1000) },
	} {
		content = ocitest.Noise(300_000, uint64(len(name)))
		w.cut(dir, content)
		if err := damage(left(t, dir)[0]); err != nil {
			t.Fatal(err)
		}
		f := w.node(func(c *fetch.Config) { c.Dir = dir })
		up := &ranged{content: content}
		if got, err := up.read(t, f, w.target(content)); !fault.Is(err, fault.DigestInvalid) || len(got) > len(content)-held {
			t.Errorf("%s: read %d bytes, %v", name, len(got), err)
		}
		await.True(t, time.Minute, "the flight ends", func() bool { return f.Running() == 0 })
		w.mustLack(content)
		up.mustRead(t, f, w.target(content), 0)
		w.settle(f)
		w.mustHold(content)
		if files := left(t, dir); len(files) > 0 {
			t.Errorf("%s: left is %q", name, files)
		}
	}
}

// TestW243_WhatIsOfNoUseIsRemoved: of another boot of the system, old, larger than the blob, or
// nothing of it; and what a running process writes is its own.
func TestW243_WhatIsOfNoUseIsRemoved(t *testing.T) {
	w, dir := newWorld(t), t.TempDir()
	content := ocitest.Noise(300_000, 1)
	renamed := func(part int, to string) func(string) error {
		return func(path string) error {
			parts := strings.Split(filepath.Base(path), "-")
			parts[part] = to
			return os.Rename(path, filepath.Join(dir, strings.Join(parts, "-")))
		}
	}
	for name, spoil := range map[string]func(path string) error{
		"of another boot":       renamed(2, strings.Repeat("0", 32)),
		"of a smaller blob":     renamed(4, "1000"),
		"of a size that is not": renamed(4, "x"),
		"old":                   func(path string) error { return os.Chtimes(path, time.Time{}, time.Now().Add(-2*time.Hour)) },
		"empty":                 func(path string) error { return os.Truncate(path, 0) },
	} {
		w.cut(dir, content)
		if err := spoil(left(t, dir)[0]); err != nil {
			t.Fatal(err)
		}
		w.node(func(c *fetch.Config) { c.Dir = dir })
		if files := left(t, dir); len(files) > 0 {
			t.Errorf("%s: left is %q", name, files)
		}
	}

	one := w.node(func(c *fetch.Config) { c.Dir = dir })
	up := newFed(int64(len(content)))
	done := make(chan error, 1)
	go func() {
		got, err := read(context.Background(), one, w.target(content), up.source)
		if err == nil && !bytes.Equal(got, content) {
			err = io.ErrUnexpectedEOF
		}
		done <- err
	}()
	up.give(t, content[:came])
	(&ranged{content: content}).mustRead(t, w.node(func(c *fetch.Config) { c.Dir = dir }), w.target(content), 0)
	up.give(t, content[came:])
	_ = up.feed.Close()
	if err := <-done; err != nil {
		t.Errorf("the running process: %v", err)
	}
}

// TestW243_WhatIsNotContinuedIsRemoved after ten minutes.
func TestW243_WhatIsNotContinuedIsRemoved(t *testing.T) {
	w, dir := newWorld(t), t.TempDir()
	w.cut(dir, ocitest.Noise(300_000, 1))
	faketime.Test(t, func(t *testing.T) {
		touched := time.Now() // of the clock of this test
		if err := os.Chtimes(left(t, dir)[0], touched, touched); err != nil {
			t.Fatal(err)
		}
		var held atomic.Int64
		f := fetch.New(fetch.Config{Dir: dir, Held: func(n int64) { held.Add(n) }})
		for _, step := range []struct {
			after time.Duration
			held  int64
			files int
		}{{9 * time.Minute, came, 1}, {2 * time.Minute, 0, 0}} {
			<-time.After(step.after)
			synctest.Wait()
			if files := left(t, dir); len(files) != step.files || held.Load() != step.held {
				t.Errorf("after %s more: %q, %d bytes", step.after, files, held.Load())
			}
		}
		if err := f.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
