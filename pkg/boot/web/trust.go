package web

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// forwarded settles who the client is before anything inside looks. Headers
// that speak of another hop are believed from a trusted peer only (contract
// row A2), and removed in either case, so that nothing inside can read them by
// mistake. RFC 7239's Forwarded is not read: proxies that send it send the
// X- forms as well. X-Forwarded-Host is not read either: the host says which tenant
// is meant, proxies pass Host on, and one that lets a client's X-Forwarded-Host through
// would let the client name another tenant than the proxy routed to.
type forwarded struct {
	trusted []netip.Prefix
	next    http.Handler
}

func (f forwarded) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	req := requestOf(r.Context())
	req.client = peerOf(r)
	if f.trusts(req.client) {
		f.believe(r, req)
	}
	for name := range r.Header {
		if name == "Forwarded" || name == "X-Real-Ip" || strings.HasPrefix(name, "X-Forwarded-") {
			delete(r.Header, name)
		}
	}
	f.next.ServeHTTP(w, r)
}

func (f forwarded) trusts(a netip.Addr) bool { return isIn(f.trusted, a) }

func isIn(networks []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(a) })
}

// believe takes the client's address and scheme from the headers. Who is within the
// trusted networks is believed, and may so name any address: they must hold proxies
// only. What must hold against such a client, as the limit of failed logins of an
// account does, does not depend on the address.
func (f forwarded) believe(r *http.Request, req *request) {
	req.client = ClientBehind(req.client, f.trusted, r.Header.Values("X-Forwarded-For"))
	if s := strings.ToLower(r.Header.Get("X-Forwarded-Proto")); s == "http" || s == "https" {
		req.scheme = s
	}
}

// ClientBehind is the client of a request that came from the peer, where the peer, if it
// is trusted, says for whom by X-Forwarded-For. Each proxy appends its peer, so that the
// nearest address that is not a trusted proxy's is the last one that could not be forged.
func ClientBehind(peer netip.Addr, trusted []netip.Prefix, forwardedFor []string) netip.Addr {
	client := peer
	if !isIn(trusted, peer) {
		return client
	}
	hops := strings.Split(strings.Join(forwardedFor, ","), ",")
	for _, hop := range slices.Backward(hops) {
		a, err := netip.ParseAddr(strings.TrimSpace(hop))
		if err != nil {
			break
		}
		client = a.Unmap()
		if !isIn(trusted, client) {
			break
		}
	}
	return client
}

// peerOf returns the address at the other end of the connection.
func peerOf(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{} // not a TCP connection: not trusted
	}
	return ap.Addr().Unmap()
}

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
// request with a token is judged by its token. And a person may follow a link, or
// come back from an issuer.
func (o Origins) Trusts(r *http.Request) bool {
	origins, sites := r.Header["Origin"], r.Header["Sec-Fetch-Site"]
	if len(origins) == 0 && len(sites) == 0 {
		return true
	}
	if o.Named(r) || hasBearer(r) || followsLink(r) || returnsFromIssuer(r) {
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
func followsLink(r *http.Request) bool { return opensTab(r) && r.Header.Get("Sec-Fetch-User") == "?1" }

// CallbacksPath begins the paths that OpenID Connect issuers send browsers back to.
const CallbacksPath = "/v1/login/callback/"

// returnsFromIssuer says whether an issuer sends a browser back, which some do by a script:
// no click comes with it. What such a request may do, its cookie and its state decide.
func returnsFromIssuer(r *http.Request) bool {
	return opensTab(r) && strings.HasPrefix(r.URL.Path, CallbacksPath)
}

// opensTab says whether the answer is shown in a tab, and to no page.
func opensTab(r *http.Request) bool {
	h := r.Header
	return (r.Method == http.MethodGet || r.Method == http.MethodHead) && len(h["Origin"]) == 0 &&
		h.Get("Sec-Fetch-Mode") == "navigate" && h.Get("Sec-Fetch-Dest") == "document"
}

// sameOrigin is the value of KeepFromPages.
var sameOrigin = []string{"same-origin"}

// KeepFromPages tells browsers to hand the answer to no page of another origin,
// whatever it is embedded as.
func KeepFromPages(h http.Header) { h["Cross-Origin-Resource-Policy"] = sameOrigin }
