package web

import (
	"net/http"
	"slices"
	"strings"
)

// Origins are the origins, as browsers write them (https://ui.example.com),
// whose pages may use a listener beside those of the listener itself.
type Origins []string

// Trusts says whether the request is of a page that may make it, or of no page
// at all: programs send neither Origin nor Sec-Fetch-Site. A page of another
// origin uses the network position of the browser that shows it, so that what is
// open to everything on this machine would be open to every page of the web
// (contract row S60).
//
// A bearer token is not part of that position: browsers never add one by
// themselves, as they add a Basic credential that they once were given. So a
// request with a token is judged by its token. And a person may follow a link.
func (o Origins) Trusts(r *http.Request) bool {
	origins, sites := r.Header["Origin"], r.Header["Sec-Fetch-Site"]
	if len(origins) == 0 && len(sites) == 0 {
		return true
	}
	if o.Named(r) || hasBearer(r) || followsLink(r) {
		return true
	}
	own := func(origin string) bool { return strings.EqualFold(origin, Scheme(r.Context())+"://"+r.Host) }
	for _, origin := range origins {
		if !own(origin) {
			return false
		}
	}
	for _, site := range sites {
		if site != "same-origin" && site != "none" {
			return false
		}
	}
	return true
}

// Named says whether the request is of a page of one of the origins.
func (o Origins) Named(r *http.Request) bool {
	origins := r.Header["Origin"]
	return len(origins) == 1 && slices.Contains(o, origins[0])
}

func hasBearer(r *http.Request) bool {
	header := r.Header["Authorization"]
	if len(header) != 1 {
		return false
	}
	scheme, token, _ := strings.Cut(header[0], " ")
	return strings.EqualFold(scheme, "Bearer") && token != ""
}

// followsLink says whether a person opens the address in a tab: the answer is
// shown to that person and to no page.
func followsLink(r *http.Request) bool {
	h := r.Header
	return (r.Method == http.MethodGet || r.Method == http.MethodHead) && len(h["Origin"]) == 0 &&
		h.Get("Sec-Fetch-Mode") == "navigate" && h.Get("Sec-Fetch-Dest") == "document" && h.Get("Sec-Fetch-User") == "?1"
}

// sameOrigin is the value of KeepFromPages.
var sameOrigin = []string{"same-origin"}

// KeepFromPages tells browsers to hand the answer to no page of another origin,
// whatever it is embedded as.
func KeepFromPages(h http.Header) { h["Cross-Origin-Resource-Policy"] = sameOrigin }
