package web

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
)

// seen tells what a handler behind the middleware sees of the client.
func seen(t *testing.T, peer string, header http.Header) string {
	t.Helper()
	m, _ := newMiddleware(io.Discard)
	m.Proxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "http://acme.test/v2/", nil)
	r.RemoteAddr = peer
	for k, v := range header {
		r.Header[k] = v
	}
	m.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, ClientAddr(r.Context()), " ", Scheme(r.Context()), " ", r.Host)
		for name := range r.Header {
			fmt.Fprint(w, " ", name)
		}
	})).ServeHTTP(w, r)
	return w.Body.String()
}

func TestA2_ForwardedHeadersOfStrangersAreNothing(t *testing.T) {
	for _, h := range []http.Header{
		{"X-Forwarded-Host": {"evil.test"}},
		{"X-Forwarded-Host": {"evil.test", "evil2.test"}},
		{"X-Forwarded-Proto": {"https"}},
		{"X-Forwarded-For": {"10.0.0.1"}},
		{"X-Forwarded-For": {"10.0.0.1, 10.0.0.2"}},
		{"X-Forwarded-Port": {"443"}},
		{"X-Forwarded-Prefix": {"/evil"}},
		{"X-Forwarded-Server": {"evil.test"}},
		{"X-Forwarded-Scheme": {"https"}},
		{"X-Real-Ip": {"10.0.0.1"}},
		{"Forwarded": {"for=10.0.0.1;host=evil.test;proto=https"}},
		{"Forwarded": {"host=evil.test"}, "X-Forwarded-Host": {"evil.test"}, "X-Forwarded-Proto": {"https"}},
	} {
		for peer, client := range map[string]string{"192.0.2.7:999": "192.0.2.7", "[2001:db8::1]:999": "2001:db8::1", "[::ffff:192.0.2.7]:999": "192.0.2.7"} {
			if got, want := seen(t, peer, h), client+" http acme.test"; got != want {
				t.Errorf("%v from %s: %q, want %q", h, peer, got, want)
			}
		}
	}
}

func TestA2_TrustedProxyIsBelieved(t *testing.T) {
	for _, c := range []struct {
		header http.Header
		want   string
	}{
		{nil, "10.0.0.9 http acme.test"},
		{http.Header{"X-Forwarded-For": {"203.0.113.5"}, "X-Forwarded-Proto": {"https"}, "X-Forwarded-Host": {"dev.acme.test"}}, "203.0.113.5 https acme.test"},
		{http.Header{"X-Forwarded-For": {"1.1.1.1, 203.0.113.5, 10.1.1.1"}}, "203.0.113.5 http acme.test"}, // 1.1.1.1 may be forged
		{http.Header{"X-Forwarded-For": {"1.1.1.1", "203.0.113.5"}}, "203.0.113.5 http acme.test"},
		{http.Header{"X-Forwarded-For": {"203.0.113.5, rubbish"}}, "10.0.0.9 http acme.test"},
		{http.Header{"X-Forwarded-Proto": {"gopher"}}, "10.0.0.9 http acme.test"},
		{http.Header{"X-Forwarded-Host": {"a.test, b.test"}}, "10.0.0.9 http acme.test"},
		{http.Header{"X-Forwarded-Host": {"a.test", "b.test"}}, "10.0.0.9 http acme.test"},
	} {
		if got := seen(t, "10.0.0.9:999", c.header); got != c.want {
			t.Errorf("%v: %q, want %q", c.header, got, c.want)
		}
	}
}
