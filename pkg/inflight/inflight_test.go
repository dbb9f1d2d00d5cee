package inflight_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/dice"
	"github.com/berth-registry/berth/pkg/faketime"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/inflight"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/tools/testserver"
)

// held is how many bytes are held back.
const held = 64 << 10

var errSource = errors.New("the source died")

// bytesOf is content that differs everywhere.
func bytesOf(n int) []byte { return ocitest.Noise(n, uint64(n)) }

// start makes a stream of content whose size is known.
func start(t testing.TB, content []byte) *inflight.Stream {
	t.Helper()
	return startWith(t, inflight.Options{Digest: oci.DigestOf(oci.SHA256, content), Size: int64(len(content)), Dir: t.TempDir()})
}

func startWith(t testing.TB, o inflight.Options) *inflight.Stream {
	t.Helper()
	s, err := inflight.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Release)
	return s
}

func write(t testing.TB, s *inflight.Stream, p []byte) {
	t.Helper()
	if n, err := s.Write(p); err != nil || n != len(p) {
		t.Fatalf("write: %d of %d, %v", n, len(p), err)
	}
}

func finish(t testing.TB, s *inflight.Stream) {
	t.Helper()
	if err := s.Finish(); err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, s *inflight.Stream) blob.Content {
	t.Helper()
	r := s.Open(t.Context())
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func TestE6_LastBytesWaitForTheDigest(t *testing.T) {
	for _, size := range []int{1, 2, held - 1, held, held + 1, 3*held + 5} {
		faketime.Test(t, func(t *testing.T) {
			content := bytesOf(size)
			s := start(t, content)
			r := open(t, s)
			if r.Size() != int64(size) {
				t.Errorf("size %d, want %d", r.Size(), size)
			}
			write(t, s, content)
			early := max(size-held, 0)
			got := make([]byte, size)
			if _, err := io.ReadFull(r, got[:early]); err != nil {
				t.Fatalf("the first %d of %d: %v", early, size, err)
			}
			var finished bool
			go func() {
				synctest.Wait() // until the reader waits
				finished = true
				if err := s.Finish(); err != nil {
					t.Error(err)
				}
			}()
			rest, err := io.ReadAll(r)
			if !finished {
				t.Errorf("%d of %d bytes were read before the digest was looked at", early+len(rest), size)
			}
			copy(got[early:], rest)
			if err != nil || len(rest) != size-early || !bytes.Equal(got, content) {
				t.Errorf("the last %d of %d: %d, %v", size-early, size, len(rest), err)
			}
			if err := blob.ReadError(r); err != nil {
				t.Errorf("ReadError after the end: %v", err)
			}
		})
	}
}

func TestStream_ReadsLikeAFile(t *testing.T) {
	for _, a := range []oci.Algorithm{oci.SHA256, oci.SHA512} {
		for _, size := range []int{0, 1, 100, 2*held + 3} {
			for _, known := range []bool{true, false} {
				content := bytesOf(size)
				o := inflight.Options{Digest: oci.DigestOf(a, content), Size: int64(size), Dir: t.TempDir()}
				if !known {
					o.Size = -1
				}
				s := startWith(t, o)
				write(t, s, content)
				finish(t, s)
				r := open(t, s)
				if r.Size() != int64(size) {
					t.Errorf("%s, %d bytes, known %v: size %d", a, size, known, r.Size())
				}
				if err := iotest.TestReader(r, content); err != nil {
					t.Errorf("%s, %d bytes, known %v: %v", a, size, known, err)
				}
			}
		}
	}
}

// No one who has the size of an empty answer waits for more: it is told only
// when it is proven.
func TestStream_UnknownSizeIsToldAtTheEnd(t *testing.T) {
	for _, content := range [][]byte{nil, bytesOf(3 * held)} {
		faketime.Test(t, func(t *testing.T) {
			s := startWith(t, inflight.Options{Digest: oci.DigestOf(oci.SHA256, content), Size: int64(-min(len(content), 1)), Dir: t.TempDir()})
			opened := make(chan blob.Content, 1)
			go func() { opened <- s.Open(t.Context()) }()
			write(t, s, content)
			synctest.Wait()
			select {
			case r := <-opened:
				t.Errorf("opened with size %d before the end", r.Size())
				return
			default:
			}
			finish(t, s)
			r := <-opened
			defer r.Close()
			if got, err := io.ReadAll(r); r.Size() != int64(len(content)) || err != nil || !bytes.Equal(got, content) {
				t.Errorf("size %d, read %d, %v", r.Size(), len(got), err)
			}
		})
	}
}

func TestStream_UnknownSizeThatNeverCame(t *testing.T) {
	o := inflight.Options{Digest: oci.DigestOf(oci.SHA256, []byte("content")), Size: -1, Dir: t.TempDir()}
	failed := startWith(t, o)
	failed.Fail(errSource)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errSource)
	for name, r := range map[string]blob.Content{"failed": failed.Open(t.Context()), "cancelled": startWith(t, o).Open(ctx)} {
		if r.Size() != -1 || !errors.Is(blob.ReadError(r), errSource) {
			t.Errorf("%s: size %d, ReadError %v", name, r.Size(), blob.ReadError(r))
		}
		if _, err := r.Seek(0, io.SeekEnd); !errors.Is(err, errSource) {
			t.Errorf("%s: Seek: %v", name, err)
		}
		if n, err := r.Read(make([]byte, 1)); n != 0 || !errors.Is(err, errSource) {
			t.Errorf("%s: Read: %d, %v", name, n, err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestStream_MoreThanTheSize(t *testing.T) {
	content := bytesOf(100)
	s := start(t, content)
	write(t, s, content[:60])
	if n, err := s.Write(append(content[60:100:100], 0)); n != 0 || !fault.Is(err, fault.SizeInvalid) || fault.KindOf(err) != fault.BadUpstream {
		t.Errorf("%d, %v", n, err)
	}
	s.Resume(0)
	write(t, s, content)
	if n, err := s.Write([]byte{0}); n != 0 || !fault.Is(err, fault.SizeInvalid) {
		t.Errorf("after all: %d, %v", n, err)
	}
	finish(t, s)
}

// TestR43_SourceDies: readers do not see that the bytes come from several sources.
func TestR43_SourceDies(t *testing.T) {
	seed := dice.Seed(t)
	play := rand.New(rand.NewPCG(seed, 0))
	content := bytesOf(4*held + 17)
	for range dice.Count(t, 20, 2000) {
		s := start(t, content)
		r := open(t, s)
		read := make(chan []byte, 1)
		go func() {
			got, err := io.ReadAll(r)
			if err != nil {
				t.Error(err)
			}
			read <- got
		}()
		for range play.IntN(5) {
			writeInPieces(t, s, content[:play.IntN(len(content)+1)], play)
			s.Resume(0)
		}
		writeInPieces(t, s, content, play)
		if s.Written() != int64(len(content)) {
			t.Fatalf("%d written", s.Written())
		}
		finish(t, s)
		if got := <-read; !bytes.Equal(got, content) {
			t.Fatalf("%d bytes that are not the content", len(got))
		}
	}
}

func writeInPieces(t *testing.T, s *inflight.Stream, p []byte, play *rand.Rand) {
	t.Helper()
	for len(p) > 0 {
		n := min(1+play.IntN(50_000), len(p))
		write(t, s, p[:n])
		p = p[n:]
	}
}

// What proves the bytes is the hash of those that readers got, not of those
// that the last source would have given.
func TestE6_RestartProvesWhatWasSent(t *testing.T) {
	content := bytesOf(3 * held)
	s := start(t, content)
	wrong := bytes.Clone(content[:held])
	wrong[7]++
	write(t, s, wrong)
	s.Resume(0)
	write(t, s, content)
	if err := s.Finish(); !fault.Is(err, fault.DigestInvalid) {
		t.Errorf("Finish: %v", err)
	}
}

func TestStream_FailureReachesEverybody(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		content := bytesOf(2 * held)
		s := start(t, content)
		write(t, s, content[:10])
		var all sync.WaitGroup
		for range 10 {
			r := open(t, s)
			all.Go(func() {
				if n, err := io.Copy(io.Discard, r); n != 10 || !errors.Is(err, errSource) || !errors.Is(blob.ReadError(r), errSource) {
					t.Errorf("a reader: %d, %v", n, err)
				}
			})
		}
		all.Go(func() {
			if n, err := io.Copy(io.Discard, s.Source(t.Context())); n != 10 || !errors.Is(err, errSource) {
				t.Errorf("the source: %d, %v", n, err)
			}
		})
		synctest.Wait()
		s.Fail(errSource)
		all.Wait()
		<-s.Done()
		s.Fail(errors.New("another"))
		if _, err := s.Write([]byte{1}); !errors.Is(err, errSource) {
			t.Errorf("write: %v", err)
		}
		if err := s.Finish(); !errors.Is(err, errSource) || !errors.Is(s.Err(), errSource) {
			t.Errorf("Finish: %v, Err: %v", err, s.Err())
		}
	})
}

// TestR43_ThousandReaders: those who leave disturb no one, and leave nothing
// behind: the bubble ends only when no goroutine is left in it.
func TestR43_ThousandReaders(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		const readers = 1000
		content := bytesOf(8*held + 1)
		s := start(t, content)
		var all sync.WaitGroup
		ctx, leave := context.WithCancelCause(t.Context())
		for i := range readers {
			all.Go(func() {
				if i%2 == 0 {
					r := s.Open(ctx)
					defer r.Close()
					if _, err := io.Copy(io.Discard, r); !errors.Is(err, errSource) {
						t.Errorf("one who left: %v", err)
					}
					return
				}
				r := s.Open(t.Context())
				defer r.Close()
				h := oci.NewHasher(oci.SHA256)
				if _, err := io.Copy(h, r); err != nil || h.Digest() != oci.DigestOf(oci.SHA256, content) {
					t.Errorf("one who stayed: %d bytes, %v", h.Size(), err)
				}
			})
		}
		write(t, s, content[:4*held])
		synctest.Wait() // until all wait for more
		leave(errSource)
		synctest.Wait()
		for rest := content[4*held:]; len(rest) > 0; {
			n := min(held/2, len(rest))
			write(t, s, rest[:n])
			rest = rest[n:]
		}
		finish(t, s)
		all.Wait()
	})
}

func TestStream_FileGoesWithItsLastReader(t *testing.T) {
	dir := t.TempDir()
	content := bytesOf(2 * held)
	before := openFiles(t)
	var taken int64
	s := startWith(t, inflight.Options{
		Digest: oci.DigestOf(oci.SHA256, content), Size: int64(len(content)), Dir: dir, Held: func(n int64) { taken += n },
	})
	if names, err := os.ReadDir(dir); err != nil || len(names) > 0 {
		t.Errorf("the file has a name: %v, %v", names, err)
	}
	write(t, s, content)
	first, second := s.Open(t.Context()), s.Open(t.Context())
	finish(t, s)
	s.Release()
	s.Release()
	for _, r := range []blob.Content{first, second} {
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, content) {
			t.Errorf("after Release: %d bytes, %v", len(got), err)
		}
		if taken != int64(len(content)) {
			t.Errorf("the file is said to take %d bytes", taken)
		}
		if err := errors.Join(r.Close(), r.Close()); err != nil {
			t.Error(err)
		}
		if _, err := r.Read(make([]byte, 1)); !errors.Is(err, os.ErrClosed) {
			t.Errorf("read after Close: %v", err)
		}
	}
	if after := openFiles(t); after != before || taken != 0 {
		t.Errorf("%d open files, %d before; they are said to take %d bytes", after, before, taken)
	}
	late := s.Open(t.Context())
	if _, err := io.ReadAll(late); !errors.Is(err, os.ErrClosed) || late.Size() != -1 {
		t.Errorf("opened after all left: size %d, %v", late.Size(), err)
	}
	if err := late.Close(); err != nil {
		t.Error(err)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(fds)
}

func TestStream_WithoutFinishItFails(t *testing.T) {
	for name, end := range map[string]func(*inflight.Stream){
		"released":  (*inflight.Stream).Release,
		"no reason": func(s *inflight.Stream) { s.Fail(nil) },
		"with all of it": func(s *inflight.Stream) {
			write(t, s, bytesOf(10))
			s.Release()
		},
	} {
		s := start(t, bytesOf(10))
		r := open(t, s)
		end(s)
		if n, err := io.Copy(io.Discard, r); n != 0 || err == nil || s.Err() == nil {
			t.Errorf("%s: read %d, %v; Err %v", name, n, err, s.Err())
		}
	}
}

// TestR35_DiskFull: readers get what fits, and the rest from where the owner
// finds room again.
func TestR35_DiskFull(t *testing.T) {
	dir := testserver.SmallDisk(t, "1m")
	content := bytesOf(1 << 20)
	filler := filepath.Join(dir, "filler")
	if err := os.WriteFile(filler, make([]byte, 512<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	s := startWith(t, inflight.Options{Digest: oci.DigestOf(oci.SHA256, content), Size: int64(len(content)), Dir: dir})
	n, err := io.CopyBuffer(onlyWriter{s}, onlyReader{bytes.NewReader(content)}, make([]byte, 32<<10))
	if fault.KindOf(err) != fault.Unavailable || s.Written() != n || n == 0 {
		t.Fatalf("write: %d, %v; written %d", n, err, s.Written())
	}
	r := open(t, s)
	got := make([]byte, n)
	if _, err := io.ReadFull(r, got); err != nil {
		t.Fatalf("what was written: %v", err)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	s.Resume(0)
	write(t, s, content)
	finish(t, s)
	rest, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(slices.Concat(got, rest), content) {
		t.Errorf("all: %d bytes, %v", len(got)+len(rest), err)
	}
	if _, err := inflight.New(inflight.Options{Digest: oci.DigestOf(oci.SHA256, nil), Dir: filler}); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("no directory: %v", err)
	}
}
