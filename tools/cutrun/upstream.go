package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// upstream is a registry with one blob. It redirects to a URL that is good once, and
// cuts the connection after so many bytes.
type upstream struct {
	content *content
	cut     int64
	pace    *rate.Limiter
	server  *http.Server
	url     string

	mu    sync.Mutex
	urls  int             // that were given
	good  map[string]bool // those that were not used
	spans []*span         // what each response sent
	sent  int64           // bytes
}

const pieceSize = 32 << 10

// span is what one response sent.
type span struct{ start, end int64 }

func startUpstream(c *content, cut int64, pace float64) (*upstream, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	limit := rate.Limit(pace)
	if pace == 0 {
		limit = rate.Inf
	}
	u := &upstream{content: c, cut: cut, pace: rate.NewLimiter(limit, pieceSize), url: "http://" + l.Addr().String(), good: map[string]bool{}}
	u.server = &http.Server{Handler: u, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = u.server.Serve(l) }() // it ends with Close
	return u, nil
}

// ServeHTTP serves /v2/, the blob of every repository, and what it redirects to.
func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	switch {
	case r.URL.Path == "/v2/":
		_, _ = io.WriteString(w, "{}") // a client that is gone heard enough
	case strings.HasPrefix(r.URL.Path, "/signed/"):
		u.send(w, r)
	case strings.HasSuffix(r.URL.Path, "/blobs/"+u.content.digest.String()):
		http.Redirect(w, r, u.sign(), http.StatusTemporaryRedirect)
	default:
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"errors":[{"code":"BLOB_UNKNOWN","message":"unknown"}]}`)
	}
}

func (u *upstream) sign() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.urls++
	to := "/signed/" + strconv.Itoa(u.urls)
	u.good[to] = true
	return to
}

// use says whether the URL was good.
func (u *upstream) use(path string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	good := u.good[path]
	delete(u.good, path)
	return good
}

func (u *upstream) send(w http.ResponseWriter, r *http.Request) {
	if !u.use(r.URL.Path) {
		http.Error(w, "this URL has expired", http.StatusForbidden)
		return
	}
	var start int64
	status, size := http.StatusOK, u.content.size
	if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &start); err == nil {
		status = http.StatusPartialContent
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", start, size-1, size))
	}
	w.Header().Set("Content-Length", strconv.FormatInt(size-start, 10))
	w.WriteHeader(status)
	sent := u.begin(start)
	body, piece := u.content.from(start), make([]byte, pieceSize)
	for at := start; at < size; {
		n, _ := body.Read(piece[:min(int64(len(piece)), u.cut-(at-start), size-at)]) // it never fails
		if u.pace.WaitN(r.Context(), n) != nil {
			return // the client is gone
		}
		n, err := w.Write(piece[:n])
		u.note(sent, int64(n))
		at += int64(n)
		if err != nil || at-start == u.cut && at < size {
			_ = http.NewResponseController(w).Flush() // a client that is gone heard enough
			panic(http.ErrAbortHandler)
		}
	}
}

// begin begins a response.
func (u *upstream) begin(at int64) *span {
	u.mu.Lock()
	defer u.mu.Unlock()
	s := &span{at, at}
	u.spans = append(u.spans, s)
	return s
}

// note counts bytes of a response.
func (u *upstream) note(s *span, n int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	s.end += n
	u.sent += n
}

// soFar is how many bytes were sent so far.
func (u *upstream) soFar() int64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.sent
}

// account is what was sent: by how many responses, how often a byte on average, how many
// bytes more than once, and how often at most.
func (u *upstream) account() (int, float64, int64, int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	type edge struct {
		at   int64
		step int
	}
	var edges []edge
	for _, s := range u.spans {
		edges = append(edges, edge{s.start, 1}, edge{s.end, -1})
	}
	slices.SortFunc(edges, func(a, b edge) int { return int(min(max(a.at-b.at, -1), 1)) })
	depth, most, twice, last := 0, 0, int64(0), int64(0)
	for _, e := range edges {
		if depth > 1 {
			twice += e.at - last
		}
		if e.at > last && depth > most {
			most = depth
		}
		depth, last = depth+e.step, e.at
	}
	return len(u.spans), float64(u.sent) / float64(u.content.size), twice, most
}
