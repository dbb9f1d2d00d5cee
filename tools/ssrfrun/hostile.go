package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"

	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
)

// The places where an upstream that is allowed can write an address.
var places = []string{"realm", "manifest redirect", "blob redirect", "blob redirect after one", "list link", "referrers redirect"}

// hostile is an upstream that sends its clients elsewhere.
type hostile struct {
	secure *httptest.Server // the same with TLS, as hostileName

	mu    sync.Mutex
	place string
	to    string
}

var (
	config   = ocitest.Empty()
	manifest = ocitest.Manifest(config)
)

func serveHostile(ctx context.Context) (*hostile, error) {
	h := &hostile{}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", hostileAt)
	if err != nil {
		return nil, err
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute, ErrorLog: log.New(nowhere{}, "", 0)}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	go func() { _ = server.Serve(l) }()
	h.secure = httptest.NewUnstartedServer(h)
	h.secure.Config.ErrorLog = server.ErrorLog
	h.secure.StartTLS()
	context.AfterFunc(ctx, h.secure.Close)
	return h, nil
}

// hostileName is in the certificate of package httptest. Only the proxy knows where it is.
const hostileName = "example.com"

// url is where the upstream is for clients that take the way.
func (h *hostile) url(way string) string {
	if way == "names" {
		return "https://" + hostileName
	}
	return "http://" + hostileAt
}

type nowhere struct{}

func (nowhere) Write(p []byte) (int, error) { return len(p), nil }

// lead sends clients from the place to the URL from now on.
func (h *hostile) lead(place, to string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.place, h.to = place, to
}

func (h *hostile) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	place, to := h.place, h.to
	h.mu.Unlock()
	path := r.URL.Path
	kind := ""
	for _, noun := range []string{"manifests", "blobs", "tags", "referrers"} {
		if strings.Contains(path, "/"+noun+"/") {
			kind = noun
		}
	}
	switch {
	case place == "realm":
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/token",service="x",scope="repository:app:pull"`, to))
		w.WriteHeader(http.StatusUnauthorized)
	case place == "blob redirect after one" && kind == "blobs" && r.URL.RawQuery == "":
		http.Redirect(w, r, path+"?again", http.StatusTemporaryRedirect)
	case strings.HasPrefix(place, "manifest") && kind == "manifests", strings.HasPrefix(place, "blob") && kind == "blobs",
		strings.HasPrefix(place, "referrers") && kind == "referrers":
		w.Header().Set("Location", to+path)
		w.WriteHeader(http.StatusTemporaryRedirect)
	case kind == "tags":
		w.Header().Set("Link", "<"+to+"/v2/app/tags/list?last=a>; rel=\"next\"")
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"name": "app", "tags": ["a"]}`))
	case kind == "manifests":
		w.Header().Set("Content-Type", oci.MediaTypeImageManifest)
		_, _ = w.Write(manifest.Bytes)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}
