package testserver

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"
)

// S3Behind is S3 behind a handler that wrap makes, to count requests or to play
// a faulty store; pass passes a request on. It returns the bucket's address
// through the handler, and the one past it.
func S3Behind(t testing.TB, wrap func(pass http.Handler) http.Handler) (string, string) {
	t.Helper()
	direct := S3(t)
	u, err := url.Parse(direct)
	if err != nil {
		t.Fatal(err)
	}
	query := u.Query()
	server, err := url.Parse(query.Get("endpoint"))
	if err != nil {
		t.Fatal(err)
	}
	quiet := log.New(io.Discard, "", 0)
	front := httptest.NewUnstartedServer(wrap(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { // the Host that was signed stays
			r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = server.Scheme, server.Host, r.In.Host
		},
		ErrorLog: quiet,
	}))
	front.Config.ErrorLog = quiet
	front.Start()
	t.Cleanup(front.Close)
	query.Set("endpoint", front.URL)
	u.RawQuery = query.Encode()
	return u.String(), direct
}
