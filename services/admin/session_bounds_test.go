package admin

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/await"
)

// TestV76_AnIssuerThatHangsKeepsNoOtherFromLoggingIn, however many wait for it.
func TestV76_AnIssuerThatHangsKeepsNoOtherFromLoggingIn(t *testing.T) {
	w := withIssuers(t)
	w.second.Between(func(http.Handler) http.Handler {
		return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	})
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	const many, queued = 152, 128
	var refused atomic.Int32
	for range many {
		go func() {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url+loginPath+"?"+atSecond, nil)
			if err != nil {
				t.Error(err)
				return
			}
			if resp, err := w.way.RoundTrip(req); err == nil {
				refused.Add(1)
				_ = resp.Body.Close()
			}
		}()
	}
	await.True(t, 20*time.Second, "some are refused", func() bool { return refused.Load() >= many-queued })
	await.True(t, 2*time.Second, "a login at another issuer begins", func() bool {
		resp, _ := w.browser().first(atCorp)
		return resp.StatusCode == http.StatusSeeOther
	})
}

// sent asks as a browser does that a page of the site led here; "" is a program. None of its
// cookies is sent.
func (b *browser) sent(path, site string) (*http.Response, string) {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, b.url+path, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	if site != "" {
		for name, value := range map[string]string{"Site": site, "Mode": "navigate", "Dest": "document", "User": "?1"} {
			req.Header.Set("Sec-Fetch-"+name, value)
		}
	}
	resp, err := b.way.RoundTrip(req)
	if err != nil {
		b.t.Fatal(err)
	}
	text, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		b.t.Fatal(err)
	}
	return resp, string(text)
}

// fromNetwork lets the server see each client at another address of one IPv6 network.
func (w *issuers) fromNetwork() {
	w.t.Helper()
	handler, n := listenerOf("https").Wrap(w.server), atomic.Int32{}
	w.serveREST(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		r.RemoteAddr = fmt.Sprintf("[2001:db8::%x]:4711", n.Add(1))
		handler.ServeHTTP(rw, r)
	}))
}

// TestV84_ANetworkIsOneAddress: who has an IPv6 network does not begin more logins of devices.
func TestV84_ANetworkIsOneAddress(t *testing.T) {
	w := withIssuers(t)
	w.fromNetwork()
	var last *http.Response
	for range maxDeviceLogins + 5 {
		last, _ = w.send("", "POST", devicePath, deviceOfCorp)
	}
	if last.StatusCode != http.StatusTooManyRequests {
		t.Errorf("%s", last.Status)
	}
}

// TestV84_RefusedLoginsAreBounded: an address that has had too many of them refused at a tenant gets no
// further code to the issuer, and other tenants are not touched.
func TestV84_RefusedLoginsAreBounded(t *testing.T) {
	w := withIssuers(t)
	finish := func(query string) *http.Response {
		b := w.browser()
		back := b.back(query)
		back.Set("code", "code")
		resp, _ := b.callback(back)
		return resp
	}
	for range maxRefusedLogins {
		if resp := finish(atCorp); resp.StatusCode != http.StatusUnauthorized {
			t.Fatalf("%s", resp.Status)
		}
	}
	if resp := finish(atCorp); resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") == "" {
		t.Errorf("one more: %s", resp.Status)
	}
	w.browser().enters("tenant=other&provider=operator/identityProviders/corp", "max")
}

// TestV79_ALinkOfAnotherSiteAsksFirst: a page of another site cannot log a browser in by one click,
// and the person is told where.
func TestV79_ALinkOfAnotherSiteAsksFirst(t *testing.T) {
	w := withIssuers(t)
	query := atCorp + "&return=" + url.QueryEscape(`/ui/?a="><script>`)
	for site, asks := range map[string]bool{"": false, "none": false, "same-origin": false, "same-site": true, "cross-site": true} {
		resp, text := w.browser().sent(loginPath+"?"+query, site)
		if asked := resp.StatusCode == http.StatusOK && len(resp.Cookies()) == 0; asked != asks {
			t.Errorf("%q: %s %s", site, resp.Status, text)
		}
		if !asks {
			continue
		}
		if page := text; !strings.Contains(page, "tenant acme by ") || !strings.Contains(page, "by operator/identityProviders/corp") || strings.Contains(page, "<script>") ||
			!strings.Contains(page, `href="/v1/login?provider=operator%2FidentityProviders%2Fcorp&amp;return=`) || !strings.Contains(resp.Header.Get("Content-Security-Policy"), "frame-ancestors 'none'") {
			t.Errorf("%q: %v %s", site, resp.Header, text)
		}
	}
}
