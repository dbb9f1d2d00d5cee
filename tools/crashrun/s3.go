package main

import (
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"time"
)

// s3Proxy stands between a node and its bucket. Its steps are the calls: about
// to be passed on; half of a body has been; and done, of which the node has
// heard nothing yet.
type s3Proxy struct {
	cut    cut
	server *http.Server
}

// newS3Proxy stands before the store of a URL, and returns the URL of the same
// bucket through the proxy.
func newS3Proxy(direct string, c cut) (*s3Proxy, string, error) {
	u, err := url.Parse(direct)
	if err != nil {
		return nil, "", err
	}
	query := u.Query()
	store, err := url.Parse(query.Get("endpoint"))
	if err != nil {
		return nil, "", err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", err
	}
	quiet := log.New(io.Discard, "", 0) // what is cut is no news
	pass := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			// The Host that was signed stays.
			r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = store.Scheme, store.Host, r.In.Host
		},
		ModifyResponse: func(r *http.Response) error {
			if c("after " + callOf(r.Request)) {
				return errKilled
			}
			return nil
		},
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
		ErrorLog:     quiet,
	}
	p := &s3Proxy{cut: c}
	p.server = &http.Server{ErrorLog: quiet, ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		call := callOf(r)
		if c("before " + call) {
			panic(http.ErrAbortHandler)
		}
		if r.ContentLength > 1 {
			r.Body = &halved{ReadCloser: r.Body, left: r.ContentLength / 2, cut: func() bool { return c("half of " + call) }}
		}
		pass.ServeHTTP(w, r)
	})}
	go func() { _ = p.server.Serve(l) }() // it ends with close
	query.Set("endpoint", "http://"+l.Addr().String())
	u.RawQuery = query.Encode()
	return p, u.String(), nil
}

func (p *s3Proxy) close() error { return p.server.Close() }

// halved is a body that is about to end at its half.
type halved struct {
	io.ReadCloser
	left int64
	cut  func() bool
}

func (h *halved) Read(b []byte) (int, error) {
	if h.left == 0 {
		h.left = -1
		if h.cut() {
			return 0, errKilled
		}
	}
	if h.left > 0 {
		b = b[:min(int64(len(b)), h.left)]
	}
	n, err := h.ReadCloser.Read(b)
	h.left = max(h.left-int64(n), min(h.left, 0))
	return n, err
}

// callOf is the name of the S3 call that a request is.
func callOf(r *http.Request) string {
	q := r.URL.Query()
	object := strings.Contains(strings.Trim(r.URL.Path, "/"), "/")
	calls := map[string]string{
		http.MethodHead: "HeadObject", http.MethodGet: "GetObject", http.MethodPut: "PutObject",
		http.MethodPost: "CompleteMultipartUpload", http.MethodDelete: "DeleteObject",
	}
	switch {
	case !object:
		calls = map[string]string{http.MethodHead: "HeadBucket", http.MethodGet: "ListObjectsV2"}
	case q.Has("uploads"):
		calls[http.MethodPost] = "CreateMultipartUpload"
	case q.Has("uploadId"):
		calls[http.MethodPut], calls[http.MethodGet], calls[http.MethodDelete] = "UploadPart", "ListParts", "AbortMultipartUpload"
	}
	if name := calls[r.Method]; name != "" {
		return name
	}
	return r.Method + " of a bucket"
}
