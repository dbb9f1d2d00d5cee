package oci_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/berth-registry/berth/pkg/dice"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/oci"
)

var algorithms = []oci.Algorithm{oci.SHA256, oci.SHA512}

func TestHasherResumes(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789abcdef!"), 40)
	for _, a := range algorithms {
		want := oci.DigestOf(a, content)
		for cut := range len(content) + 1 {
			first := oci.NewHasher(a)
			write(t, first, content[:cut])
			second, err := oci.ResumeHasher(a, first.State())
			if err != nil {
				t.Fatalf("%s resumed after %d bytes: %v", a, cut, err)
			}
			if second.Size() != int64(cut) || second.Algorithm() != a {
				t.Fatalf("%s resumed after %d bytes has size %d, algorithm %s", a, cut, second.Size(), second.Algorithm())
			}
			write(t, second, content[cut:])
			if got := second.Digest(); got != want {
				t.Fatalf("%s resumed after %d bytes = %s, want %s", a, cut, got, want)
			}
		}
	}
}

func TestHasherResumesNothing(t *testing.T) {
	h, err := oci.ResumeHasher(oci.SHA256, nil)
	if err != nil || h.Size() != 0 || h.Digest() != emptySHA256 {
		t.Fatalf("empty state: %v, %v", h, err)
	}
	if _, err := oci.ResumeHasher("sha1", nil); !fault.Is(err, fault.DigestInvalid) {
		t.Fatalf("unknown algorithm: %v", err)
	}
}

// TestC6_MutatedHashStates: a damaged state is an error, never a panic and
// never a hasher that would compute something else.
func TestC6_MutatedHashStates(t *testing.T) {
	random := rand.New(rand.NewPCG(dice.Seed(t), 6))
	for _, a := range algorithms {
		h := oci.NewHasher(a)
		write(t, h, bytes.Repeat([]byte("x"), 1000))
		state := h.State()
		if len(state) > 256 {
			t.Errorf("%s state has %d bytes", a, len(state))
		}
		for range 5000 {
			refuseState(t, a, mutate(random, state))
		}
		for n := 1; n < len(state); n++ {
			refuseState(t, a, state[:n])
		}
	}
	h := oci.NewHasher(oci.SHA256)
	refuseState(t, oci.SHA512, h.State())
}

func mutate(random *rand.Rand, state []byte) []byte {
	m := bytes.Clone(state)
	switch random.IntN(4) {
	case 0: // a single bit
		m[random.IntN(len(m))] ^= 1 << random.IntN(8)
	case 1: // a torn write
		clear(m[random.IntN(len(m)-1):])
	case 2: // trailing bytes
		m = append(m, byte(random.Uint32()))
	default: // a few bytes
		for range 1 + random.IntN(8) {
			m[random.IntN(len(m))] += byte(1 + random.IntN(255))
		}
	}
	if bytes.Equal(m, state) {
		m[0]++
	}
	return m
}

func refuseState(t *testing.T, a oci.Algorithm, state []byte) {
	t.Helper()
	if _, err := oci.ResumeHasher(a, state); !fault.Is(err, fault.BlobUploadInvalid) {
		t.Fatalf("ResumeHasher(%s, %x) = %v; want BLOB_UPLOAD_INVALID", a, state, err)
	}
}

func FuzzResumeHasher(f *testing.F) {
	for _, a := range algorithms {
		h := oci.NewHasher(a)
		f.Add(string(a), h.State())
		if _, err := io.WriteString(h, "some content"); err != nil {
			f.Fatal(err)
		}
		f.Add(string(a), h.State())
	}
	f.Add("sha256", []byte{})
	f.Add("sha1", []byte("x"))
	f.Fuzz(func(t *testing.T, algorithm string, state []byte) {
		h, err := oci.ResumeHasher(oci.Algorithm(algorithm), state)
		if err != nil {
			if fault.KindOf(err) != fault.Invalid {
				t.Fatalf("ResumeHasher: %v", err)
			}
			return
		}
		if h.Size() < 0 {
			t.Fatalf("resumed at %d bytes", h.Size())
		}
		write(t, h, []byte("more"))
		if _, err := oci.ParseDigest(h.Digest().String()); err != nil {
			t.Fatalf("resumed hasher makes %q: %v", h.Digest(), err)
		}
	})
}

func write(t *testing.T, w io.Writer, p []byte) {
	t.Helper()
	if n, err := w.Write(p); n != len(p) || err != nil {
		t.Fatalf("Write = %d, %v", n, err)
	}
}

func ExampleResumeHasher() {
	h := oci.NewHasher(oci.SHA256)
	fmt.Fprint(h, "first chunk, ")
	state := h.State() // stored with the upload session, read by another node

	h, err := oci.ResumeHasher(oci.SHA256, state)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Fprint(h, "second chunk")
	fmt.Println(h.Digest() == oci.DigestOf(oci.SHA256, []byte("first chunk, second chunk")))
	// Output: true
}
