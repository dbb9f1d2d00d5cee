package upstream

import "net/http"

// Transport is the way to a host that a tenant, by its slug, names for something else than an
// upstream, such as the issuer of its jobs' tokens: the same addresses are refused, by the
// proxies of Options.Environment.
func (cs *Clients) Transport(tenant string) http.RoundTripper {
	if own := cs.scoped[tenant]; own != nil {
		return own
	}
	return cs.transport
}

// PublicTransport is the way to a host that a response names.
func (cs *Clients) PublicTransport() http.RoundTripper { return cs.led }
