package s3blob

import (
	"bytes"
	"hash/crc32"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/blob"
)

// Whatever lies in the bucket, a key is an object's in one spelling only.
func FuzzKeyOf(f *testing.F) {
	k := blob.Key{Tenant: 42, Incarnation: uuid.MustParse("01890000-0000-7000-8000-0000000000ab")}
	for _, seed := range []string{k.String(), strings.ToUpper(k.String()), "o/042/" + k.Incarnation.String(), "o/42/{" + k.Incarnation.String() + "}", "/" + k.String(), k.String() + "/", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if k, ok := keyOf(s); ok && k.String() != s {
			t.Errorf("%q is the key %v, which is %q", s, k, k.String())
		}
	})
}

// What the setting blobs says wrong is refused without being repeated.
func FuzzParseAddress(f *testing.F) {
	for _, seed := range []string{
		"s3://bucket", "s3://bucket?endpoint=http://127.0.0.1:9000&region=r&path_style=true", "s3://key:secret@bucket",
		"s3://bucket/prefix", "s3://", "http://bucket", "s3://bucket?x=y", "s3://b?path_style=1&path_style=0", "s3://b?endpoint=ftp://x", "%",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := parseAddress(s)
		switch {
		case err != nil && !strings.HasPrefix(err.Error(), "blobs: "):
			t.Errorf("%q: %q does not name the setting", s, err)
		case err == nil && (a.bucket == "" || !strings.HasPrefix(s, "s3://") && !strings.HasPrefix(s, "S3://")):
			t.Errorf("%q was read as %+v", s, a)
		}
	})
}

// What a store says of the range it answers with lies within the object it says
// to have, whatever it says.
func FuzzParseContentRange(f *testing.F) {
	for _, seed := range []string{"bytes 5-9/20", "bytes 0-0/1", "bytes 0-0/*", "bytes */20", "bytes 9-5/20", "bytes 0-20/20", "bytes -1-0/1", "bytes 0-9223372036854775807/9223372036854775807", "5-9/20", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, size, ok := parseContentRange(s)
		if ok && (r.From < 0 || r.From >= r.To || r.To > size) {
			t.Errorf("%q was read as %v of %d", s, r, size)
		}
	})
}

// The checksum of a store, and its size, say whatever they like: what they
// accept is the content they are of.
func FuzzVerifier(f *testing.F) {
	f.Add("AAAAAA==", []byte(""), int64(4))
	f.Add("AAAAAA==-2", []byte("eight by"), int64(4))
	f.Add("x-99999999999999999999", []byte("x"), int64(1))
	f.Add("-0", []byte(""), int64(1))
	f.Fuzz(func(t *testing.T, sum string, content []byte, part int64) {
		if part < 1 || part > 1<<20 {
			return
		}
		v := verifierOf(sum, int64(len(content)), part)
		if v == nil {
			return
		}
		v.write(content)
		if !v.ok() {
			return
		}
		var parts []string
		for rest := content; len(rest) > 0; rest = rest[min(part, int64(len(rest))):] {
			parts = append(parts, checksum(crc32.Checksum(rest[:min(part, int64(len(rest)))], castagnoli)))
		}
		if sum != composite(parts) && sum != checksum(crc32.Checksum(content, castagnoli)) {
			t.Errorf("%q was taken for the checksum of %d bytes", sum, len(content))
		}
	})
}

// What is spooled comes back, wherever memory ended.
func TestSpool(t *testing.T) {
	want := bytes.Repeat([]byte("0123456789abcde"), 5*chunkSize/15)
	for _, memory := range []int64{chunkSize, 2 * chunkSize, 3 * chunkSize, 8 * chunkSize} {
		p := newPool(memory, t.TempDir())
		s := p.spool(1)
		if err := s.fill(bytes.NewReader(want), idle); err != nil {
			t.Fatal(err)
		}
		if spilled := s.file != nil; spilled != (memory < 5*chunkSize) {
			t.Errorf("%d bytes of memory: spilled %v", memory, spilled)
		}
		for _, at := range []int{0, 1, chunkSize - 1, chunkSize, 2*chunkSize - 7, 4 * chunkSize, len(want) - 1} {
			got := make([]byte, len(want)-at)
			if n, err := s.ReadAt(got, int64(at)); err != nil || !bytes.Equal(got, want[at:]) {
				t.Errorf("%d bytes of memory, from %d: %d, %v", memory, at, n, err)
			}
		}
		s.free()
		if p.gate.Used() != 0 || len(p.idle) == 0 {
			t.Errorf("%d chunks were not given back, %d are idle", p.gate.Used(), len(p.idle))
		}
		p.close()
		late := p.spool(1) // of a writer that is fenced by the store's end
		if err := late.fill(bytes.NewReader(want), idle); err != nil {
			t.Error(err)
		}
		late.free()
		if p.gate.Used() != 0 || len(p.idle) != 0 {
			t.Errorf("after the end: %d chunks were not given back, %d are idle", p.gate.Used(), len(p.idle))
		}
		if _, err := s.ReadAt(make([]byte, 1), 0); err == nil {
			t.Error("a spool that was given back is read")
		}
	}
}
