package respond

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/blob"
)

// recorded notes where the first byte is read.
type recorded struct {
	*bytes.Reader
	first int64
}

func (r *recorded) Read(p []byte) (int, error) {
	if r.first < 0 {
		at, err := r.Seek(0, io.SeekCurrent)
		if err != nil {
			return 0, err
		}
		r.first = at
	}
	return r.Reader.Read(p)
}

// Whatever the header is, the hint lies within the blob, and where there is one
// and net/http answers with one range, it is that one.
func FuzzFirstRange(f *testing.F) {
	for _, seed := range []string{
		"bytes=0-3", "bytes=18-", "bytes=-1", "bytes=-99", "bytes=19-1000", "bytes=20-", "bytes=5-2", "bytes=0-1,5-6", "bytes= 3-4",
		"bytes=-0", "bytes=-", "bytes=a-b", "bytes=0-18446744073709551616", "items=0-1", "bytes=0-19", "",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		const size = 20
		r := firstRange(header, size)
		if r.From < 0 || r.To > size || r.From >= r.To && r != (blob.Range{}) {
			t.Fatalf("%q: %v is not within the blob", header, r)
		}
		content := &recorded{Reader: bytes.NewReader(make([]byte, size)), first: -1}
		req := httptest.NewRequest(http.MethodGet, "/", nil)
		req.Header.Set("Range", header)
		rec := httptest.NewRecorder()
		rec.Header().Set("Content-Type", "application/octet-stream")
		http.ServeContent(rec, req, "", time.Time{}, content)
		if rec.Code == http.StatusPartialContent && rec.Header().Get("Content-Range") != "" {
			n := int64(rec.Body.Len())
			if hinted := r != (blob.Range{}); hinted && (content.first != r.From || n != r.To-r.From) {
				t.Errorf("%q: %v is not what is read, %d bytes from %d", header, r, n, content.first)
			}
		}
	})
}
