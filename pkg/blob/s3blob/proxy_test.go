package s3blob_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/berth-registry/berth/tools/testserver"
)

// A trick is what the proxy does with a request instead of passing it on; pass
// passes it on. It returns false to have it passed on as if nothing was.
type trick func(w http.ResponseWriter, r *http.Request, pass func(http.ResponseWriter)) bool

// proxy stands before the store and plays tricks by the name of the call.
type proxy struct {
	address string // of the bucket, through the proxy
	direct  string // and past it

	mu     sync.Mutex
	tricks map[string]trick
	calls  map[string]int
}

func newProxy(t testing.TB) *proxy {
	t.Helper()
	p := &proxy{tricks: make(map[string]trick), calls: make(map[string]int)}
	p.address, p.direct = testserver.S3Behind(t, func(pass http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if play := p.count(callOf(r)); play == nil || !play(w, r, func(w http.ResponseWriter) { pass.ServeHTTP(w, r) }) {
				pass.ServeHTTP(w, r)
			}
		})
	})
	return p
}

func (p *proxy) count(call string) trick {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls[call]++
	return p.tricks[call]
}

// play plays a trick on every call of a name; nil ends it. It returns how often
// the call came since the one before.
func (p *proxy) play(call string, t trick) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.calls[call]
	p.calls[call], p.tricks[call] = 0, t
	return n
}

// callOf is the name of the S3 call that a request is.
func callOf(r *http.Request) string {
	q := r.URL.Query()
	object := strings.Count(strings.Trim(r.URL.Path, "/"), "/") > 0
	switch {
	case r.Method == http.MethodHead && object:
		return "HeadObject"
	case r.Method == http.MethodHead:
		return "HeadBucket"
	case r.Method == http.MethodGet && q.Has("uploads"):
		return "ListMultipartUploads"
	case r.Method == http.MethodGet && !object:
		return "ListObjectsV2"
	case r.Method == http.MethodGet && q.Has("uploadId"):
		return "ListParts"
	case r.Method == http.MethodGet:
		return "GetObject"
	case r.Method == http.MethodPut && q.Has("uploadId"):
		return "UploadPart"
	case r.Method == http.MethodPut:
		return "PutObject"
	case r.Method == http.MethodPost && q.Has("uploads"):
		return "CreateMultipartUpload"
	case r.Method == http.MethodPost:
		return "CompleteMultipartUpload"
	case q.Has("uploadId"):
		return "AbortMultipartUpload"
	default:
		return "DeleteObject"
	}
}

// first plays a trick n times only.
func first(n int, then trick) trick {
	var mu sync.Mutex
	return func(w http.ResponseWriter, r *http.Request, pass func(http.ResponseWriter)) bool {
		mu.Lock()
		n--
		mine := n >= 0
		mu.Unlock()
		return mine && then(w, r, pass)
	}
}

// answer refuses with an S3 error.
func answer(status int, code string) trick {
	return func(w http.ResponseWriter, r *http.Request, _ func(http.ResponseWriter)) bool {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, `<?xml version="1.0"?><Error><Code>`+code+`</Code><Message>on purpose</Message></Error>`)
		return true
	}
}

// done has the request passed on and then answers with something else.
func done(instead trick) trick {
	return func(w http.ResponseWriter, r *http.Request, pass func(http.ResponseWriter)) bool {
		pass(httptest.NewRecorder())
		return instead(w, r, pass)
	}
}

// cut breaks the connection.
func cut(http.ResponseWriter, *http.Request, func(http.ResponseWriter)) bool {
	panic(http.ErrAbortHandler)
}

// hang waits until the client gives up. The server notices that only when it has
// read the body.
func hang(_ http.ResponseWriter, r *http.Request, _ func(http.ResponseWriter)) bool {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
	panic(http.ErrAbortHandler)
}

// changed passes the request on and has the response's body changed.
func changed(change func(header http.Header, body []byte) []byte) trick {
	return func(w http.ResponseWriter, _ *http.Request, pass func(http.ResponseWriter)) bool {
		rec := httptest.NewRecorder()
		pass(rec)
		body := change(rec.Header(), bytes.Clone(rec.Body.Bytes()))
		for name, values := range rec.Header() {
			w.Header()[name] = values
		}
		w.WriteHeader(rec.Code)
		_, _ = w.Write(body)
		if want, err := strconv.Atoi(rec.Header().Get("Content-Length")); err == nil && len(body) < want {
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
		return true
	}
}
