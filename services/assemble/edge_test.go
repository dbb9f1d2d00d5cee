package assemble_test

import (
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"regexp"
	"sync/atomic"
	"testing"
)

// uploadPath is the edge's rule for uploads; names may contain blobs/uploads.
var uploadPath = regexp.MustCompile(`^/v2/.+/blobs/uploads/[^/]*$`)

// edge stands before split services as a proxy would: it knows paths, and sends
// one request after the other to the next node.
type edge struct {
	registry, upload, token turn
}

// turn is a list of nodes of which each request gets the next; one to which
// there is no connection is passed over.
type turn struct {
	nodes []string
	next  atomic.Uint64
}

func (t *turn) add(n *node) { t.nodes = append(t.nodes, n.at("data_addr")) }

func (t *turn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	proxy := httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL.Scheme = "http"
			p.Out.Host = p.In.Host
			p.SetXForwarded()
		},
		Transport:     t,
		FlushInterval: -1,
		ErrorLog:      log.New(io.Discard, "", 0),
	}
	proxy.ServeHTTP(w, r)
}

func (t *turn) RoundTrip(r *http.Request) (*http.Response, error) {
	var errs []error
	for range t.nodes {
		r.URL.Host = t.nodes[t.next.Add(1)%uint64(len(t.nodes))]
		answer, err := http.DefaultTransport.RoundTrip(r)
		var failed *net.OpError
		if err == nil || !errors.As(err, &failed) || failed.Op != "dial" {
			return answer, err
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

func (e *edge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == "/token":
		e.token.ServeHTTP(w, r)
	case uploadPath.MatchString(r.URL.EscapedPath()):
		e.upload.ServeHTTP(w, r)
	default:
		e.registry.ServeHTTP(w, r)
	}
}

// serve puts the edge on a port and returns its address.
func (e *edge) serve(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(e)
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}
