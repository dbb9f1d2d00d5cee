package upstream

import (
	"bufio"
	"bytes"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestParseChallenges(t *testing.T) {
	for value, want := range map[string]string{
		`Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/nginx:pull"`: "bearer realm=https://auth.docker.io/token service=registry.docker.io scope=repository:library/nginx:pull",
		`Bearer realm="https://a/t", service="a b", scope="repository:a:pull,push"`:                                      "bearer realm=https://a/t service=a b scope=repository:a:pull,push",
		`Basic realm="x", Bearer realm="https://a/t"`:                                                                    "basic realm=x; bearer realm=https://a/t",
		`BASIC Realm = x,bearer REALM=https://a/t`:                                                                       "basic realm=x; bearer realm=https://a/t",
		`Negotiate, Basic realm="x"`:                                                                                     "negotiate; basic realm=x",
		`NTLM TlRMTVNT==, Basic realm="x"`:                                                                               "ntlm; basic realm=x",
		`Bearer realm="a\"b\\c,d"`:                                                                                       `bearer realm=a"b\c,d`,
		`Bearer realm="first",realm="second"`:                                                                            "bearer realm=first",
		`Bearer realm="open`:                                                                                             "bearer",
		`Bearer`:                                                                                                         "bearer",
		`="x"`:                                                                                                           "",
		``:                                                                                                               "",
		`,,, ,`:                                                                                                          "",
	} {
		var got []string
		for _, c := range parseChallenges([]string{value}) {
			s := c.scheme
			for _, name := range []string{"realm", "service", "scope"} {
				if v, ok := c.params[name]; ok {
					s += " " + name + "=" + v
				}
			}
			got = append(got, s)
		}
		if s := strings.Join(got, "; "); s != want {
			t.Errorf("%s\n is %s", value, s)
		}
	}
}

func FuzzChallenge(f *testing.F) {
	for _, s := range []string{
		`Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/nginx:pull"`,
		`Basic realm="x", Bearer realm=https://a/t`, `Negotiate, Basic realm="x"`, `NTLM TlRMTVNT==`, `Bearer realm="a\"b\\`, "\x00=\xff", strings.Repeat("a ", 50),
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		found := parseChallenges([]string{s, s})
		if len(found) > maxChallenges {
			t.Errorf("%d challenges", len(found))
		}
		for _, c := range found {
			if c.scheme == "" || c.scheme != strings.ToLower(c.scheme) {
				t.Errorf("scheme %q", c.scheme)
			}
			for name, value := range c.params {
				if name == "" || len(value) > len(s) {
					t.Errorf("%q=%q", name, value)
				}
			}
		}
	})
}

// FuzzNextPage: whatever a link says, it leads to the same host.
func FuzzNextPage(f *testing.F) {
	for _, s := range []string{
		`</v2/a/tags/list?n=1&last=b>; rel="next"`, `<http://registry.example.com/v2/?x=y>; rel=next`, `<https://evil.net/?x>; rel="prev next"`,
		`</a>; rel="first", </b?c>; rel="next"; title="a, b"`, `<?a>;rel=next`, `<//evil?x>;rel=next`, `<`, `<>;;;rel`, `<a>; rel="`, `</x>; rel*=UTF-8''next`,
	} {
		f.Add(s)
	}
	base := &url.URL{Scheme: "https", Host: "registry.example.com"}
	f.Fuzz(func(t *testing.T, s string) {
		query, problem := nextPage([]string{s}, base, "tags/list")
		if query != "" && problem != "" {
			t.Errorf("%q and %q", query, problem)
		}
		if next := (&url.URL{Scheme: "https", Host: base.Host, Path: "/v2/a/tags/list", RawQuery: query}); query != "" {
			if strings.Contains(query, "#") || next.Host != base.Host {
				t.Errorf("leads to %s", next)
			}
		}
	})
}

// FuzzToken: a token fits a header, and lives neither for ever nor never.
func FuzzToken(f *testing.F) {
	for _, s := range []string{
		`{"token":"abc","expires_in":300}`, `{"access_token":"abc"}`, `{"token":"","access_token":"x","expires_in":0.5}`, `{"token":"a\r\nb"}`,
		`{"token":"a","expires_in":1e300}`, `{"token":"a","expires_in":-1}`, `{}`, `[]`, `null`, `{"token":1}`, `{"expires_in":"300","token":"a"}`,
	} {
		f.Add([]byte(s))
	}
	now := time.Unix(1_800_000_000, 0)
	f.Fuzz(func(t *testing.T, body []byte) {
		tok, err := parseToken(body, now)
		if err != nil {
			return
		}
		if tok.value == "" || strings.ContainsFunc(tok.value, func(r rune) bool { return r <= ' ' || r > '~' }) {
			t.Errorf("token %q", tok.value)
		}
		if life := tok.expires.Sub(now); life <= 0 || life > maxTokenLife {
			t.Errorf("lives for %v", life)
		}
	})
}

// FuzzHeaders reads what answers say of limits and of when to come back.
func FuzzHeaders(f *testing.F) {
	for _, s := range []string{"100;w=21600", "100", "1;w=;w=5", "-1", "99999999999999999999", ";w=3", "120", "100, 100;w=10, 1000;w=60", "limit=100, remaining=50, reset=5", `"burst";q=100;w=60,"daily";q=1000;w=86400`, `"burst";r=5;t=3`, "1800000300", "-9223372036854775808", "9223372036854775807", "Thu, 01 Jan 2043 00:00:00 GMT", "soon"} {
		f.Add(s)
	}
	now := time.Unix(1_800_000_000, 0)
	f.Fuzz(func(t *testing.T, s string) {
		for _, h := range []http.Header{
			{"Ratelimit-Limit": {s}, "Ratelimit-Remaining": {s}, "Ratelimit-Reset": {s}},
			{"X-Ratelimit-Limit": {"100"}, "X-Ratelimit-Remaining": {s}, "X-Ratelimit-Reset": {s}},
			{"Ratelimit": {s}, "Ratelimit-Policy": {s}},
			{"Ratelimit": {`"default";r=50;t=30`}, "Ratelimit-Policy": {s}},
			{"Ratelimit": {s}, "Ratelimit-Policy": {`"default";q=100;w=60`}},
		} {
			l, ok := readRateLimit(h, now)
			left := l.Reset.Sub(now)
			if ok && (l.Limit < 1 || l.Remaining < 0 || l.Remaining > l.Limit || l.Window < 0 || l.Window > longestWindow || !l.Reset.IsZero() && (left < 0 || left > longestWindow)) {
				t.Errorf("%v: %+v", h, l)
			}
		}
		if d := retryAfter(http.Header{"Retry-After": {s}}, now); d < 0 {
			t.Errorf("come back %v ago", d)
		}
	})
}

// FuzzURL: what is taken for a URL of an upstream is one with a host, and stays
// the same when it is read again.
func FuzzURL(f *testing.F) {
	for _, s := range []string{
		"https://ghcr.io", "http://127.0.0.1:5000/", "https://[::1]:5000", "https://user@host", "https://0x7f.1", "https://a_b.c", "https:host", "//x", "https://x\\@y",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := baseURL(s)
		if err != nil {
			return
		}
		again, err := baseURL(u.String())
		if err != nil || again.String() != u.String() || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Path != "" {
			t.Errorf("%q is %v, then %v, %v", s, u, again, err)
		}
	})
}

// FuzzProxyReply: whatever a proxy sends, a connection is only made after a 200 with
// nothing behind it.
func FuzzProxyReply(f *testing.F) {
	for _, reply := range []string{
		"HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.0 200 Connection established\r\nVia: x\r\n\r\n", "HTTP/1.1 407 Login\r\nContent-Length: 1\r\n\r\nx", "HTTP/1.1 200 OK\r\n\r\nmore",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "HTTP/9.9 200\r\n\r\n", "", "\x16\x03\x01",
	} {
		f.Add([]byte(reply))
	}
	f.Fuzz(func(t *testing.T, reply []byte) {
		here, there := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer there.Close()
			if _, err := http.ReadRequest(bufio.NewReader(there)); err == nil {
				_, _ = there.Write(reply)
			}
		}()
		p := newProxy(&url.URL{Scheme: "http", Host: "proxy.example.com"}, nil)
		conn, err := p.ask(t.Context(), here, "up.example.com:443")
		if err == nil && (conn != here || !bytes.Contains(reply, []byte(" 200"))) {
			t.Errorf("connected after %q", reply)
		}
		if !errors.Is(err, errProxy) && err != nil {
			t.Errorf("%v", err)
		}
		_ = here.Close()
		<-done
	})
}
