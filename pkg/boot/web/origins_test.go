package web

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// page is the header of a request as a browser sends it for a page.
func page(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return h
}

func TestS60_PagesOfOtherOriginsAreNotTrusted(t *testing.T) {
	named := Origins{"https://ui.example.com"}
	for _, c := range []struct {
		what, method string
		header       http.Header
		want         bool
	}{
		{"a program", "PUT", nil, true},
		{"a page of this host", "PUT", page("Origin", "http://reg.test:5000", "Sec-Fetch-Site", "same-origin"), true},
		{"the host in capitals", "PUT", page("Origin", "http://REG.test:5000"), true},
		{"a named page", "PUT", page("Origin", "https://ui.example.com", "Sec-Fetch-Site", "cross-site"), true},
		{"an address that was typed", "GET", page("Sec-Fetch-Site", "none", "Sec-Fetch-Mode", "navigate"), true},
		{"a link that was followed", "GET", page("Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document", "Sec-Fetch-User", "?1"), true},
		{"a token", "DELETE", page("Origin", "https://evil.tld", "Authorization", "Bearer x"), true},

		{"another origin", "GET", page("Origin", "https://evil.tld"), false},
		{"another port", "POST", page("Origin", "http://reg.test:3000", "Sec-Fetch-Site", "same-site"), false},
		{"another scheme", "POST", page("Origin", "https://reg.test:5000"), false},
		{"no origin to speak of", "POST", page("Origin", "null"), false},
		{"an empty origin", "POST", page("Origin", ""), false},
		{"two origins", "POST", page("Origin", "http://reg.test:5000", "Origin", "https://evil.tld"), false},
		{"a named origin and another", "POST", page("Origin", "https://ui.example.com", "Origin", "https://evil.tld"), false},
		{"what begins like a named one", "POST", page("Origin", "https://ui.example.com.evil.tld"), false},
		{"a site without an origin", "GET", page("Sec-Fetch-Site", "cross-site"), false},
		{"a site next to this one", "GET", page("Sec-Fetch-Site", "same-site"), false},
		{"a site that there is not", "GET", page("Sec-Fetch-Site", "something"), false},
		{"a credential that browsers send by themselves", "POST", page("Origin", "https://evil.tld", "Authorization", "Basic Y2k6cGFzcw=="), false},
		{"a form in a tab", "POST", page("Origin", "https://evil.tld", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document", "Sec-Fetch-User", "?1"), false},
		{"a frame", "GET", page("Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe", "Sec-Fetch-User", "?1"), false},
		{"a tab that a page opened", "GET", page("Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"), false},
	} {
		r := httptest.NewRequest(c.method, "http://reg.test:5000/v2/", nil)
		r.Header = c.header
		if got := named.Trusts(r); got != c.want {
			t.Errorf("%s: trusted %v, want %v", c.what, got, c.want)
		}
	}
}

// An issuer may send a browser back by a script, without a click; no page gets the answer.
func TestS60_IssuersSendBrowsersBack(t *testing.T) {
	back := page("Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document")
	framed := page("Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe")
	for _, c := range []struct {
		method, path string
		header       http.Header
		want         bool
	}{
		{"GET", "/v1/login/callback/7?code=c&state=s", back, true},
		{"GET", "/v1/login/callback/7?code=c&state=s", framed, false},
		{"POST", "/v1/login/callback/7", back, false},
		{"GET", "/v1/login", back, false},
	} {
		r := httptest.NewRequest(c.method, "http://reg.test:5000"+c.path, nil)
		r.Header = c.header
		if got := (Origins{}).Trusts(r); got != c.want {
			t.Errorf("%s %s: trusted %v, want %v", c.method, c.path, got, c.want)
		}
	}
}

func TestS62_NamesOfOthersDoNotLeadToOperatorsListeners(t *testing.T) {
	h := NewHosts("reg.example.com", []string{"berth.corp.example", "*.ops.example"})
	for header, want := range map[string]bool{
		"":                      true, // HTTP/1.0, as health checks send it
		"localhost:5080":        true,
		"127.0.0.1:5080":        true,
		"10.1.2.3":              true,
		"[::1]:5090":            true,
		"[fd00::7]":             true,
		"berth:5080":            true,
		"my_project_admin:5080": true,
		"berth-admin.berth.svc": true,
		"berth-admin.berth.svc.cluster.local:5080": true,
		"Admin.LOCALHOST.:5080":                    true,
		"node1.eu.compute.internal":                true,
		"reg.example.com":                          true,
		"admin.reg.example.com":                    true,
		"berth.corp.example:443":                   true,
		"a.ops.example":                            true,

		"evil.tld":                     false,
		"evil.tld:5080":                false,
		"localhost.evil.tld":           false,
		"127.0.0.1.evil.tld":           false,
		"127-0-0-1.evil.tld":           false,
		"svc.evil.tld":                 false,
		"a.svc.evil.tld":               false,
		"evilreg.example.com":          false,
		"reg.example.com.evil.tld":     false,
		"x.berth.corp.example":         false,
		"ops.example":                  false,
		"evil.tld:5080@127.0.0.1:5080": false,
		"[evil.tld]":                   false,
	} {
		if got := h.Has(header); got != want {
			t.Errorf("%q leads here: %v, want %v", header, got, want)
		}
	}
	if (Hosts{}).Has("evil.tld") || !(Hosts{}).Has("localhost:1") {
		t.Error("without names it is not as with none")
	}
}
