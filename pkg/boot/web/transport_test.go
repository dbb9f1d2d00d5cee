package web

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
)

// After a request whose end two readers may see in two places nothing more is read:
// what follows it on the connection is not a request. Others leave the connection open.
func TestS8_ConnectionEndsAfterAnAmbiguousRequest(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		head, body string
		ends       bool
	}{
		"both":              {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", "0\r\n\r\n", true},
		"both, other order": {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", "0\r\n\r\n", true},
		"chunked":           {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", "3\r\nabc\r\n0\r\n\r\n", true},
		"old with both":     {"POST / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", "0\r\n\r\n", true},
		"length":            {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n", "abc", false},
		"no body":           {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serveAt(t, Pace{}, nil, false, func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				fmt.Fprint(w, r.URL.Path)
			})
			conn := dial(t, s)
			if _, err := io.WriteString(conn, c.head+c.body+"GET /smuggled HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			in := bufio.NewReader(conn)
			first, err := http.ReadResponse(in, nil)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, first.Body)
			rest, _ := io.ReadAll(in)
			if first.StatusCode != http.StatusOK || first.Close != c.ends || strings.Contains(string(rest), "/smuggled") == c.ends {
				t.Errorf("%d, closes: %v, then %q", first.StatusCode, first.Close, rest)
			}
		})
	}
}

// X-Forwarded-Host is not read from any peer, trusted or not.
func TestS9_ForwardedHostIsNotRead(t *testing.T) {
	t.Parallel()
	for _, peer := range []string{"10.0.0.9:999", "192.0.2.7:999"} {
		got := seen(t, peer, http.Header{"X-Forwarded-Host": {"other.test"}, "X-Forwarded-For": {"203.0.113.5"}})
		if !strings.HasSuffix(got, " http acme.test") {
			t.Errorf("from %s: %q", peer, got)
		}
	}
}

// Answers to those who came by TLS say that they shall continue to, and only those.
func TestS10_StrictTransportSecurity(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		scheme, forwarded string
		want              bool
	}{
		"TLS or public_scheme":   {"https", "", true},
		"plain":                  {"http", "", false},
		"a proxy ends TLS":       {"http", "https", true},
		"a proxy without TLS":    {"https", "http", false},
		"a proxy says something": {"http", "gopher", false},
	} {
		m, _ := newMiddleware(io.Discard)
		m.Scheme, m.Proxies = c.scheme, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		s := startServer(t, m.Wrap(http.NotFoundHandler()))
		r, err := http.NewRequest(http.MethodGet, s.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		if c.forwarded != "" {
			r.Header.Set("X-Forwarded-Proto", c.forwarded)
		}
		resp, err := s.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if got := resp.Header.Get("Strict-Transport-Security"); (got == stayEncrypted) != c.want || !c.want && got != "" {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// A peer that is trusted names its clients, the nearest that is not a proxy counts, and
// what it names cannot be read by mistake.
func TestS12_TheNearestForeignAddressCounts(t *testing.T) {
	t.Parallel()
	for forged := range 50 {
		h := http.Header{"X-Forwarded-For": {fmt.Sprintf("198.51.100.%d, 203.0.113.5, 10.1.1.1", forged)}}
		if got := seen(t, "10.0.0.9:999", h); got != "203.0.113.5 http acme.test" {
			t.Errorf("%v: %q", h, got)
		}
	}
}

// startServer serves h on a real listener.
func startServer(t *testing.T, h http.Handler) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(nil)
	s.Config = NewServer(h, slog.New(slog.DiscardHandler))
	s.Start()
	t.Cleanup(s.Close)
	return s
}
