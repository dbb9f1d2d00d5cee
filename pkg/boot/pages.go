package boot

import (
	"net/url"
	"strings"

	"github.com/berth-registry/berth/pkg/boot/web"
	"github.com/berth-registry/berth/pkg/tenant"
)

// OperatorHosts are the hosts that admin and ops listeners accept.
func (c Config) OperatorHosts() web.Hosts { return web.NewHosts(c.BaseDomain, c.AdminHosts) }

// checkPages checks the settings of web origins and of host names for the
// operators' listeners.
func (c Config) checkPages(p *Problems) {
	for _, origin := range c.CORSOrigins {
		u, err := url.Parse(origin)
		switch {
		case origin == "*" || origin == "null":
			p.add("cors_origins", "%q would let pages of every site use the registries; name each origin, such as https://ui.example.com", origin)
		case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || origin != strings.ToLower(u.Scheme+"://"+u.Host) || strings.Contains(origin, "*") || ownPort(u):
			p.add("cors_origins", "%q is not an origin as browsers send it, such as https://ui.example.com: scheme, host in lower case, and port unless it is the scheme's own", origin)
		}
	}
	if u, err := url.Parse(c.LoginURL); c.LoginURL != "" && (err != nil || u.Scheme != "https" && (u.Scheme != "http" || u.Hostname() != "localhost") || u.Host == "" || c.LoginURL != strings.ToLower(u.Scheme+"://"+u.Host) || ownPort(u)) {
		p.add("login_url", "%q is not an https URL without path, such as https://berth.example.com: scheme, host in lower case, and port unless it is the scheme's own", c.LoginURL)
	}
	for _, host := range c.AdminHosts {
		name := strings.TrimPrefix(host, "*.")
		if normal, err := tenant.NormalizeHost(name); err != nil || normal != name {
			p.add("admin_hosts", "%q is not a host name in lower case without port, such as berth.example.com or *.example.com", host)
		}
	}
}

// ownPort reports whether the URL has the default port of its scheme.
func ownPort(u *url.URL) bool {
	return u.Scheme == "http" && u.Port() == "80" || u.Scheme == "https" && u.Port() == "443"
}
