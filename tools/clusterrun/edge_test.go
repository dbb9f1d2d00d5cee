package clusterrun

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/berth-registry/berth/tools/internal/server"
)

// node is a Berth process.
type node struct {
	*server.Server
	services []string    // none is all
	away     atomic.Bool // the edge sends it nothing
}

func (n *node) runs(service string) bool {
	return len(n.services) == 0 || slices.Contains(n.services, service)
}

// edge stands between clients and nodes, as a proxy would: each request goes to
// the next node that runs what its path needs, and to the one after that if it
// takes no connection. It never sends a request twice.
type edge struct {
	nodes     []*node
	next      atomic.Uint64
	transport http.RoundTripper
	*record
}

func newEdge(r *record, nodes ...*node) *edge {
	return &edge{nodes: nodes, record: r, transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}}
}

var uploadPath = regexp.MustCompile(`^/v2/.+/blobs/uploads/[^/]*$`)

// serviceOf is the edge's rule.
func serviceOf(path string) string {
	switch {
	case path == "/token":
		return "token"
	case uploadPath.MatchString(path):
		return "upload"
	default:
		return "registry"
	}
}

func (e *edge) RoundTrip(r *http.Request) (*http.Response, error) {
	service := serviceOf(r.URL.Path)
	err := errors.New("no node is there")
	turn := e.next.Add(1)
	for i := range e.nodes {
		n := e.nodes[(turn+uint64(i))%uint64(len(e.nodes))]
		if !n.runs(service) || n.away.Load() {
			continue
		}
		var res *http.Response
		if res, err = e.ask(n, r); !refusedConnection(err) {
			e.note(n, r, res, err)
			return res, err
		}
	}
	e.note(nil, r, nil, err)
	return nil, err
}

// ask sends a copy of the request to one node.
func (e *edge) ask(n *node, r *http.Request) (*http.Response, error) {
	to := r.Clone(r.Context())
	to.URL.Host = n.Data
	if r.GetBody != nil {
		var err error
		if to.Body, err = r.GetBody(); err != nil {
			return nil, err
		}
	}
	return e.transport.RoundTrip(to)
}

// refusedConnection says whether a request never left.
func refusedConnection(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// tally is what clients were answered, as far as it is no success.
type tally struct {
	asked   int
	refused map[int]int // answers that say "later" or "no", by status
	wrong   []string    // answers that no node may ever give
	cut     []string    // requests without a whole answer
}

func (t tally) refusals() int {
	n := 0
	for _, of := range t.refused {
		n += of
	}
	return n
}

// record is the tally of an edge.
type record struct {
	mu sync.Mutex
	tally
}

func (r *record) counts() tally {
	r.mu.Lock()
	defer r.mu.Unlock()
	return tally{r.asked, maps.Clone(r.refused), slices.Clone(r.wrong), slices.Clone(r.cut)}
}

// note looks at an answer. What is not there, and offsets that are not right,
// the ledger judges.
func (r *record) note(n *node, req *http.Request, res *http.Response, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	what := req.Method + " " + req.URL.Path
	if n != nil {
		what += " at " + n.Data
	}
	r.asked++
	switch {
	case err != nil:
		r.cut = append(r.cut, what+": "+err.Error())
		return
	case res.StatusCode == http.StatusServiceUnavailable && res.Header.Get("Retry-After") != "":
		r.refused[res.StatusCode]++
	case res.StatusCode >= 500, res.StatusCode == http.StatusUnauthorized, res.StatusCode == http.StatusForbidden, res.StatusCode == http.StatusTooManyRequests:
		r.refused[res.StatusCode]++
		body, _ := io.ReadAll(res.Body)
		res.Body = io.NopCloser(bytes.NewReader(body))
		r.wrong = append(r.wrong, what+": "+res.Status+" "+string(body))
	}
	res.Body = &watched{res.Body, r, what}
}

// watched is the body of an answer, which may be cut.
type watched struct {
	io.ReadCloser
	*record
	what string
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		w.mu.Lock()
		w.cut = append(w.cut, w.what+", within the answer: "+err.Error())
		w.mu.Unlock()
	}
	return n, err
}
