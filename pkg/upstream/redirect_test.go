package upstream

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/faketime"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/oci"
)

const origin = "https://registry.example.com"

// chain makes a world in which origin leads through the given places, one after
// the other. The last one gives the image.
func chain(places []string) (*world, *Clients) {
	w, cs := newWorld()
	step := 0
	serve := func(rw http.ResponseWriter, r *http.Request) {
		http.SetCookie(rw, &http.Cookie{Name: "session", Value: "stolen", Path: "/"})
		if step == 0 && r.Header.Get("Authorization") == "" {
			rw.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			rw.WriteHeader(http.StatusUnauthorized)
			return
		}
		if step == len(places) {
			sendImage(rw, r)
			return
		}
		rw.Header().Set("Location", places[step])
		rw.WriteHeader([]int{301, 302, 303, 307, 308}[step%5])
		step++
	}
	w.hosts[origin], w.hosts["https://cdn.example.net"] = serve, serve
	for _, p := range places {
		if u, problem := parseURL(p); problem == "" {
			w.hosts[u.Scheme+"://"+u.Host] = serve
		}
	}
	return w, cs
}

// TestE3_RedirectsThatAreNotFollowed: each is an outage, and nothing is asked
// beyond the hop before.
func TestE3_RedirectsThatAreNotFollowed(t *testing.T) {
	loop := func(n int, place func(i int) string) []string {
		var all []string
		for i := range n {
			all = append(all, place(i))
		}
		return all
	}
	cdn := func(i int) string { return fmt.Sprintf("https://cdn%d.example.net/x", i) }
	for name, places := range map[string][]string{
		"to http":                         {"http://cdn.example.net/x"},
		"to http on the same host":        {"http://registry.example.com/x"},
		"to http after a good hop":        {"https://cdn.example.net/x", "http://cdn.example.net/x"},
		"protocol-relative user":          {"//user@cdn.example.net/x"},
		"user":                            {"https://user@cdn.example.net/x"},
		"user and password":               {"https://user:pass@cdn.example.net/x"},
		"empty user":                      {"https://@cdn.example.net/x"},
		"user after a good hop":           {"https://cdn.example.net/x", "https://u:p@cdn.example.net/x"},
		"ftp":                             {"ftp://cdn.example.net/x"},
		"file":                            {"file:///etc/passwd"},
		"gopher":                          {"gopher://cdn.example.net:70/x"},
		"javascript":                      {"javascript:alert(1)"},
		"data":                            {"data:text/plain,x"},
		"unix":                            {"unix:///run/docker.sock"},
		"ws":                              {"wss://cdn.example.net/x"},
		"opaque":                          {"https:cdn.example.net"},
		"no Location":                     {""},
		"no host":                         {"https:///x"},
		"only a port":                     {"https://:8080/x"},
		"port 0":                          {"https://cdn.example.net:0/x"},
		"port too large":                  {"https://cdn.example.net:65536/x"},
		"port of letters":                 {"https://cdn.example.net:abc/x"},
		"decimal address":                 {"https://2130706433/x"},
		"hexadecimal address":             {"https://0x7f000001/x"},
		"octal address":                   {"https://0177.0.0.1/x"},
		"short address":                   {"https://127.1/x"},
		"address with zone":               {"https://[fe80::1%25eth0]/x"},
		"IPv4 in brackets":                {"https://[127.0.0.1]/x"},
		"open bracket":                    {"https://[::1/x"},
		"space in host":                   {"https://cdn example.net/x"},
		"control character":               {"https://cdn.example.net/\x01"},
		"broken escape":                   {"https://cdn.example.net/%zz"},
		"backslash":                       {`https://cdn.example.net\@127.0.0.1/x`},
		"trailing dot":                    {"https://cdn.example.net./x"},
		"very long":                       {"https://cdn.example.net/" + strings.Repeat("a", 9000)},
		"not ASCII":                       {"https://\u0441dn.example.net/x"},
		"30 hops on one host":             loop(30, func(i int) string { return fmt.Sprintf("/x/%d", i) }),
		"30 hops over 30 hosts":           loop(30, cdn),
		"back and forth":                  loop(30, func(i int) string { return []string{cdn(0), origin + "/x"}[i%2] }),
		"6 hops":                          loop(6, cdn),
		"itself":                          loop(30, func(int) string { return origin + "/v2/a/b/manifests/latest" }),
		"nothing is there, as a dead CDN": {"https://gone.example.net/x"},
	} {
		t.Run(name, func(t *testing.T) {
			faketime.Test(t, func(t *testing.T) { refusedAtOnce(t, places) })
		})
	}
}

func refusedAtOnce(t *testing.T, places []string) {
	t.Helper()
	w, cs := chain(places)
	delete(w.hosts, "https://gone.example.net")
	c := clientOf(t, cs, Config{Target: Target{URL: origin, Username: "u", Password: "p"}})
	start := time.Now()
	_, err := c.Manifest(t.Context(), "a/b", latest)
	e := wantOutage(t, err)
	if kind := e.Fault().Kind; kind != fault.BadUpstream || time.Since(start) > 0 {
		t.Errorf("%v after %v", kind, time.Since(start))
	}
	if strings.Contains(e.Message, "example.net") || strings.Contains(e.Message, "127") {
		t.Errorf("the message repeats what the upstream said: %s", e.Message)
	}
	asked := w.requests()
	if len(asked) > 2+maxRedirects {
		t.Errorf("%d requests", len(asked))
	}
	for _, r := range asked {
		if r.URL.Scheme != "https" || r.URL.User != nil {
			t.Errorf("asked %s", r.URL)
		}
	}
}

// TestE5_AuthorizationStaysAtTheOrigin: it is on the hops to the origin before
// the chain leaves it, and on none after that; cookies are on none.
func TestE5_AuthorizationStaysAtTheOrigin(t *testing.T) {
	const (
		a = origin
		b = "https://cdn.example.net"
		c = "https://cdn.example.org"
	)
	for _, places := range [][]string{
		{},
		{a + "/1"},
		{"/1"},
		{"1"},
		{a + "/1", a + "/2"},
		{a + ":443/1"},
		{"https://REGISTRY.example.com/1"},
		{b + "/1"},
		{b + "/1", a + "/2"},
		{b + "/1", b + "/2"},
		{b + "/1", c + "/2", a + "/3"},
		{a + "/1", b + "/2"},
		{a + "/1", b + "/2", a + "/3", a + "/4"},
		{b + "/1", a + "/2", b + "/3", a + "/4", b + "/5"},
		{a + ":8443/1"},
		{a + ":8443/1", a + "/2"},
		{"https://sub.registry.example.com/1"},
		{"https://example.com/1"},
		{"https://registry.example.com.attacker.net/1"},
		{"https://xregistry.example.com/1"},
		{"//cdn.example.net/1"},
		{b + "/1", "/2", a + "/3"},
	} {
		t.Run(strings.Join(places, " "), func(t *testing.T) {
			w, cs := chain(places)
			client := clientOf(t, cs, Config{Target: Target{URL: origin, Username: "u", Password: "p"}})
			if _, err := client.Manifest(t.Context(), "a/b", latest); err != nil {
				t.Fatal(err)
			}
			asked := w.requests()
			if len(asked) != 2+len(places) {
				t.Fatalf("%d requests", len(asked))
			}
			left := false
			for i, r := range asked {
				left = left || r.URL.Scheme+"://"+r.URL.Host != origin
				if has, want := r.Header.Get("Authorization") != "", i > 0 && !left; has != want {
					t.Errorf("request %d, to %s: Authorization %v, want %v", i, r.URL, has, want)
				}
				if r.Header.Get("Cookie") != "" || r.Header.Get("Referer") != "" {
					t.Errorf("request %d carries %v", i, r.Header)
				}
			}
		})
	}
}

// TestR41_OtherHostsDecideNothing: where a redirect leads to, a 401, 403 or 404
// is a defect, unless another registry says so.
func TestR41_OtherHostsDecideNothing(t *testing.T) {
	for status, registry := range map[int]bool{401: false, 403: false, 404: false, 410: false, 500: false, 200: true, 204: false} {
		for _, api := range []string{"", "registry/2.0"} {
			w, cs := newWorld()
			w.hosts[origin] = func(rw http.ResponseWriter, r *http.Request) {
				http.Redirect(rw, r, "https://cdn.example.net/x", http.StatusTemporaryRedirect)
			}
			w.hosts["https://cdn.example.net"] = func(rw http.ResponseWriter, _ *http.Request) {
				if api != "" {
					rw.Header().Set("Docker-Distribution-Api-Version", api)
				}
				rw.WriteHeader(status)
			}
			_, err := clientOf(t, cs, Config{Target: Target{URL: origin}}).HasBlob(t.Context(), "a/b", oci.DigestOf(oci.SHA256, nil))
			want := Outage
			switch {
			case registry:
				want = Found
			case status == 404 && api != "":
				want = NotHere
			}
			if got := OutcomeOf(err); got != want {
				t.Errorf("%d from another host, which says %q: %s, want %s", status, api, got, want)
			}
		}
	}
}
