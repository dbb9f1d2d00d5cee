package assemble_test

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
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

// turn is a list of nodes of which each request gets the next.
type turn struct {
	nodes []http.Handler
	next  atomic.Uint64
}

func (t *turn) add(n *node) {
	u := &url.URL{Scheme: "http", Host: n.at("data_addr")}
	t.nodes = append(t.nodes, &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(u)
			p.Out.Host = p.In.Host
			p.SetXForwarded()
		},
		FlushInterval: -1,
	})
}

func (t *turn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	t.nodes[t.next.Add(1)%uint64(len(t.nodes))].ServeHTTP(w, r)
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
