package fetch_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/services/internal/fronttest"
	"github.com/berth-registry/berth/services/proxy/fetch"
)

// TestE6_WrongBytes: every reader fails, nothing is kept, one line is logged,
// and the next pull fetches again.
func TestE6_WrongBytes(t *testing.T) {
	flip := func(at int) func(p []byte) []byte {
		return func(p []byte) []byte {
			p[at] ^= 1
			return p
		}
	}
	w := newWorld(t)
	for i, c := range []struct {
		name  string
		wrong func(p []byte) []byte
	}{
		{"first byte", flip(0)},
		{"last byte", flip(4*held - 1)},
		{"middle", flip(2 * held)},
		{"long", func(p []byte) []byte { return append(p, 0) }},
		{"doubled", func(p []byte) []byte { return append(p, p...) }},
		{"other bytes", func(p []byte) []byte { return bytesOf(len(p) + 1)[1:] }},
	} {
		t.Run(c.name, func(t *testing.T) {
			right := bytesOf(4*held + i)
			wrong := c.wrong(bytes.Clone(right))
			var lines lines
			f := w.node(func(c *fetch.Config) { c.Log = slog.New(slog.NewTextHandler(&lines, nil)) })
			s := &source{say: func(context.Context, int) (io.Reader, int64, error) { return bytes.NewReader(wrong), -1, nil }}
			var all sync.WaitGroup
			for range 10 {
				all.Go(func() {
					if got, err := read(t.Context(), f, w.target(right), s); fault.KindOf(err) != fault.BadUpstream {
						t.Errorf("read %d bytes, %v", len(got), err)
					}
				})
			}
			all.Wait()
			w.settle(f)
			if got, asked := lines.count("digest="+w.target(right).Digest.String()), s.calls(); got != asked {
				t.Errorf("%d lines, and asked %d times:\n%s", got, asked, &lines)
			}
			w.mustLack(right)
			f = w.node(nil)
			mustRead(t, f, w.target(right), gives(right), right)
			w.settle(f)
			w.mustHold(right)
		})
	}
}

// lines is a log.
type lines struct {
	mu sync.Mutex
	strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Builder.Write(p)
}

func (l *lines) count(what string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.String(), what)
}

// Who comes while a flight that failed is still being put away is not told of
// it: the same process fetches again.
func TestE6_NextOpenFetchesAnew(t *testing.T) {
	w := newWorld(t)
	f := w.node(nil)
	right := bytesOf(2 * held)
	wrong := bytes.Clone(right)
	wrong[0]++
	s := &source{say: func(_ context.Context, call int) (io.Reader, int64, error) {
		if call == 1 {
			return bytes.NewReader(wrong), -1, nil
		}
		return bytes.NewReader(right), -1, nil
	}}
	if _, err := read(t.Context(), f, w.target(right), s); !fault.Is(err, fault.DigestInvalid) {
		t.Errorf("the first: %v", err)
	}
	mustRead(t, f, w.target(right), s, right)
	w.settle(f)
	w.mustHold(right)
}

// A source that says another size is not read.
func TestE6_WrongSizeSaid(t *testing.T) {
	w := newWorld(t)
	f := w.node(nil)
	right := bytesOf(held)
	s := &source{say: func(context.Context, int) (io.Reader, int64, error) { return bytes.NewReader(right), held - 1, nil }}
	if _, err := f.Open(t.Context(), w.target(right), s.Open); !fault.Is(err, fault.SizeInvalid) || fault.KindOf(err) != fault.BadUpstream {
		t.Errorf("Open: %v", err)
	}
	w.settle(f)
	if n := s.calls(); n != 1 {
		t.Errorf("asked %d times", n)
	}
	w.mustLack(right)
}

// TestR39_SourceBreaksOff: it is asked again, and readers do not notice, unless it sends
// the same again and again.
func TestR39_SourceBreaksOff(t *testing.T) {
	w := newWorld(t)
	f := w.node(nil)
	var all sync.WaitGroup
	var whole, lacking [][]byte
	for _, end := range []error{io.ErrUnexpectedEOF, io.EOF} {
		for _, breaks := range []int{1, 2, 3} {
			for _, at := range []int{0, 1, 2 * held, 3 * held} {
				content := bytesOf(3*held + 1 + len(whole) + len(lacking))
				if !repeatsTooMuch(at, breaks) {
					whole = append(whole, content)
				} else {
					lacking = append(lacking, content)
				}
				all.Go(func() { breakOff(t, w, f, content, at, breaks, end) })
			}
		}
	}
	all.Wait()
	w.settle(f)
	for _, content := range whole {
		w.held[w.target(content).Digest] = true
	}
	for _, content := range whole {
		w.mustHold(content)
	}
	for _, content := range lacking {
		w.mustLack(content)
	}
}

// repeatsTooMuch says whether a source that always begins at the first byte would send a
// third time what the blob has.
func repeatsTooMuch(at, breaks int) bool { return at == 3*held && breaks == 3 }

func breakOff(t *testing.T, w world, f *fetch.Fetches, content []byte, at, breaks int, end error) {
	t.Helper()
	s := &source{say: func(_ context.Context, call int) (io.Reader, int64, error) {
		if call <= breaks {
			return io.MultiReader(bytes.NewReader(content[:at]), failing{end}), int64(len(content)), nil
		}
		return bytes.NewReader(content), int64(len(content)), nil
	}}
	got, err := read(t.Context(), f, w.target(content), s)
	switch {
	case !repeatsTooMuch(at, breaks):
		if err != nil || !bytes.Equal(got, content) || s.calls() != breaks+1 {
			t.Errorf("%d breaks at %d, %v: %d bytes after %d calls, %v", breaks, at, end, len(got), s.calls(), err)
		}
	case fault.KindOf(err) != fault.BadUpstream || s.calls() != 3:
		t.Errorf("%d breaks at %d, %v: %d bytes after %d calls, %v", breaks, at, end, len(got), s.calls(), err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// What the upstream answers when it is asked again may settle it.
func TestR39_AskedAgain(t *testing.T) {
	t.Parallel()
	content := bytesOf(3 * held)
	denied := fault.New(fault.Denied, fault.DeniedReason, "no more")
	for name, c := range map[string]struct {
		second error
		calls  int
		read   error
	}{
		"an outage is asked once more": {errDown, 3, nil},
		"a denial is not":              {denied, 2, denied},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			f := w.node(nil)
			s := &source{say: func(_ context.Context, call int) (io.Reader, int64, error) {
				switch call {
				case 1:
					return io.MultiReader(bytes.NewReader(content[:held]), failing{io.ErrUnexpectedEOF}), int64(len(content)), nil
				case 2:
					return nil, 0, c.second
				default:
					return bytes.NewReader(content), int64(len(content)), nil
				}
			}}
			if _, err := read(t.Context(), f, w.target(content), s); !errors.Is(err, c.read) || s.calls() != c.calls {
				t.Errorf("after %d calls: %v", s.calls(), err)
			}
			w.settle(f)
		})
	}
}

// sick is a store that fails in one place.
type sick struct {
	fetch.Meta
	fetch.Blobs
	ill string
}

var errSick = fault.Down(errors.New("on purpose"), "the store")

func (s sick) fails(method string) error {
	if s.ill == method {
		return errSick
	}
	return nil
}

func (s sick) FindBlob(ctx context.Context, r meta.Repo, d oci.Digest) (meta.Blob, error) {
	b, err := s.Meta.FindBlob(ctx, r, d)
	return b, errors.Join(s.fails("FindBlob"), err)
}

func (s sick) CreateUpload(ctx context.Context, r meta.Repo, a oci.Algorithm) (meta.Upload, error) {
	if err := s.fails("CreateUpload"); err != nil {
		return meta.Upload{}, err
	}
	return s.Meta.CreateUpload(ctx, r, a)
}

// Append takes some of the bytes first.
func (s sick) Append(ctx context.Context, st blob.Stage, src blob.Source, j blob.Journal) error {
	if err := s.fails("Append"); err != nil {
		_, _ = io.CopyN(io.Discard, src, held)
		return err
	}
	return s.Blobs.Append(ctx, st, src, j)
}

func (s sick) AdvanceUpload(ctx context.Context, u meta.Upload, p blob.Progress) (meta.Upload, error) {
	if err := s.fails("AdvanceUpload"); err != nil {
		return u, err
	}
	return s.Meta.AdvanceUpload(ctx, u, p)
}

func (s sick) SealUpload(ctx context.Context, u meta.Upload, d oci.Digest) (meta.Upload, error) {
	if err := s.fails("SealUpload"); err != nil {
		return u, err
	}
	return s.Meta.SealUpload(ctx, u, d)
}

func (s sick) Seal(ctx context.Context, st blob.Stage) (int64, error) {
	if err := s.fails("Seal"); err != nil {
		return 0, err
	}
	return s.Blobs.Seal(ctx, st)
}

func (s sick) CommitUpload(ctx context.Context, by meta.Cause, u meta.Upload, heal bool) (meta.Blob, error) {
	if err := s.fails("CommitUpload"); err != nil {
		return meta.Blob{}, err
	}
	return s.Meta.CommitUpload(ctx, by, u, heal)
}

// TestR23_StoreFails: readers get every byte; nothing is half kept.
func TestR23_StoreFails(t *testing.T) {
	content := bytesOf(4 * held)
	for _, method := range []string{"FindBlob", "CreateUpload", "Append", "AdvanceUpload", "SealUpload", "Seal", "CommitUpload"} {
		t.Run(method, func(t *testing.T) {
			w := newWorld(t)
			f := w.node(func(c *fetch.Config) {
				s := sick{c.Meta, c.Blobs, method}
				c.Meta, c.Blobs = s, s
			})
			s := newFed(int64(len(content)))
			go s.give(t, content[:held])
			var readers []io.Reader
			for range 5 {
				c, err := f.Open(t.Context(), w.target(content), s.Open)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				readers = append(readers, c)
			}
			s.give(t, content[held:])
			s.feed.Close()
			for _, r := range readers {
				if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, content) {
					t.Errorf("a reader: %d bytes, %v", len(got), err)
				}
			}
			w.settle(f)
			if method == "FindBlob" {
				w.mustHold(content)
				return
			}
			w.mustLack(content)
		})
	}
}

// What cannot be stored is fetched for those who read it, and no further when the
// last of them leaves. Who comes then begins again.
func TestR23_NeitherStoredNorRead(t *testing.T) {
	w := newWorld(t)
	var log lines
	f := w.node(func(c *fetch.Config) {
		s := sick{c.Meta, c.Blobs, "CreateUpload"}
		c.Meta, c.Blobs, c.Log = s, s, slog.New(slog.NewTextHandler(&log, nil))
	})
	content := bytesOf(4 * held)
	s := newFed(int64(len(content)))
	go s.give(t, content[:held])
	c, err := f.Open(t.Context(), w.target(content), s.Open)
	if err != nil {
		t.Fatal(err)
	}
	await.True(t, 20*time.Second, "it cannot be stored", func() bool { return log.count("could not be stored") == 1 })
	s.give(t, content[held:2*held])
	c.Close()
	if n, err := s.feed.Write(content[2*held:]); err == nil {
		t.Errorf("%d bytes were fetched for no one", n)
	}
	mustRead(t, f, w.target(content), gives(content), content)
	w.settle(f)
	w.mustLack(content)
}

// A tenant without room gets what it asks for, and keeps nothing of it.
func TestC14_OverQuotaIsPassedThrough(t *testing.T) {
	w := newWorld(t)
	acme, err := w.Meta.FindTenant(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	acme.Quota = held
	if _, err := w.Meta.UpdateTenant(t.Context(), fronttest.By(), acme); err != nil {
		t.Fatal(err)
	}
	f := w.node(nil)
	content := bytesOf(2 * held)
	for range 2 {
		mustRead(t, f, w.target(content), gives(content), content)
	}
	w.settle(f)
	w.mustLack(content)
}

// What is fetched for a cache that was given up meanwhile is kept by no one.
func TestI12_CacheGivenUp(t *testing.T) {
	w := newWorld(t)
	f := w.node(nil)
	content := bytesOf(2 * held)
	s := newFed(int64(len(content)))
	got := make(chan struct{})
	go func() {
		defer close(got)
		mustRead(t, f, w.target(content), s.source, content)
	}()
	await.True(t, 20*time.Second, "the upstream is asked", func() bool { return s.calls() == 1 })
	s.give(t, content[:held])
	u, err := w.Meta.FindUpstream(t.Context(), w.repo.Tenant, "hub")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Meta.UpdateUpstream(t.Context(), fronttest.By(), u, true); err != nil {
		t.Fatal(err)
	}
	s.give(t, content[held:])
	s.feed.Close()
	<-got
	w.settle(f)
	if b, err := w.Meta.FindBlob(t.Context(), w.repo, w.target(content).Digest); !fault.Is(err, fault.BlobUnknown) {
		t.Errorf("the repository has %v, %v", b, err)
	}
}
