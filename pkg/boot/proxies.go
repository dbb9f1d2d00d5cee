package boot

import (
	"errors"
	"net/url"
	"strings"
)

// Proxy is a forward proxy that upstreams choose by its name: an entry of
// upstream_proxies, [TENANT@]NAME=URL.
//
//	corp=http://proxy.example:3128                    for all tenants
//	acme@corp=https://user:password@proxy.example     for this tenant alone
//	corp=http://proxy.example:3128?resolve=proxy      the proxy resolves the names of upstreams
//	none=direct                                       no proxy, also where https_proxy is set
type Proxy struct {
	Tenant string // slug; empty for all
	Name   string
	URL    URL // zero for a direct connection
}

// directly stands for no proxy.
const directly = "direct"

var errNotProxy = errors.New("is not of the form [TENANT@]NAME=URL, such as corp=http://proxy.example:3128 or none=direct")

// UnmarshalText is the inverse of String. It does not check the URL.
func (p *Proxy) UnmarshalText(text []byte) error {
	name, at, ok := strings.Cut(strings.TrimSpace(string(text)), "=")
	if !ok || at == "" {
		return errNotProxy
	}
	var read Proxy
	if owner, rest, owned := strings.Cut(name, "@"); owned {
		if owner == "" {
			return errNotProxy
		}
		read.Tenant, name = owner, rest
	}
	if read.Name = name; name == "" {
		return errNotProxy
	}
	if at != directly {
		read.URL = NewURL(at)
	}
	*p = read
	return nil
}

// String writes the entry as an operator would, without the password.
func (p Proxy) String() string {
	at := directly
	if !p.URL.IsZero() {
		at = p.URL.proxyText()
	}
	if p.Tenant != "" {
		return p.Tenant + "@" + p.Name + "=" + at
	}
	return p.Name + "=" + at
}

// proxyText is String for a proxy's URL, whose query is no secret.
func (u URL) proxyText() string {
	parsed, err := url.Parse(u.raw)
	if err != nil {
		return Redacted
	}
	return parsed.Redacted()
}

// Proxies are the entries of upstream_proxies.
type Proxies []Proxy

// IsZero reports whether no proxy is configured.
func (ps Proxies) IsZero() bool { return len(ps) == 0 }

// UnmarshalText reads one entry per line.
func (ps *Proxies) UnmarshalText(text []byte) error {
	var read Proxies
	for line := range strings.Lines(string(text)) {
		if strings.TrimSpace(line) == "" {
			continue
		}
		var p Proxy
		if err := p.UnmarshalText([]byte(line)); err != nil {
			return errNotProxy
		}
		read = append(read, p)
	}
	*ps = read
	return nil
}

// String lists the names.
func (ps Proxies) String() string {
	names := make([]string, len(ps))
	for i, p := range ps {
		names[i] = p.String()
	}
	return strings.Join(names, ",")
}

// ProxyURLs are the URLs of all forward proxies, with their passwords.
func (c Config) ProxyURLs() []string {
	var all []string
	for _, u := range []URL{c.HTTPSProxy, c.HTTPProxy} {
		if !u.IsZero() {
			all = append(all, withScheme(u.Reveal()))
		}
	}
	for _, p := range c.UpstreamProxies {
		all = append(all, p.URL.Reveal())
	}
	return all
}

// checkEgress checks how upstreams are reached.
func (c Config) checkEgress(p *Problems) {
	for _, s := range []struct {
		key string
		url URL
	}{{"https_proxy", c.HTTPSProxy}, {"http_proxy", c.HTTPProxy}} {
		if s.url.IsZero() {
			continue
		}
		if problem := proxyProblem(withScheme(s.url.Reveal())); problem != "" {
			p.add(s.key, "it %s; a proxy is like http://proxy.example:3128, and an empty value in the configuration file means no proxy, even if the environment has one", problem)
		}
	}
	known := map[[2]string]bool{}
	for _, one := range c.UpstreamProxies {
		key := [2]string{one.Tenant, one.Name}
		switch {
		case !isProxyName(one.Name) || one.Tenant != "" && !isProxyName(one.Tenant):
			p.add("upstream_proxies", "%q is not a name of lower case letters, digits and dashes, such as corp or acme@corp", one.Name)
		case known[key]:
			p.add("upstream_proxies", "%q is named twice", one.Name)
		case !one.URL.IsZero():
			if problem := proxyProblem(one.URL.Reveal()); problem != "" {
				p.add("upstream_proxies", "the URL of %q %s; a proxy is like corp=http://proxy.example:3128", one.Name, problem)
			}
		}
		known[key] = true
	}
	for _, pattern := range c.UpstreamDeny {
		if name := strings.TrimPrefix(pattern, "*."); name == "" || name != strings.ToLower(name) || strings.ContainsAny(name, "*/:@ \t") || strings.Trim(name, ".") != name {
			p.add("upstream_deny", "%q is not a host name in lower case, such as db.example.com, or *.example.com for all below it", pattern)
		}
	}
}

// withScheme completes host:port, as other programs do with HTTPS_PROXY.
func withScheme(raw string) string {
	if strings.Contains(raw, "://") {
		return raw
	}
	return "http://" + raw
}

// proxyProblem is what is wrong with the URL of a proxy. It does not contain the URL,
// which may have a password.
func proxyProblem(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "cannot be parsed"
	}
	password, _ := u.User.Password()
	query := u.Query()
	resolve := query.Get("resolve")
	query.Del("resolve")
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return "is neither http nor https, the only kinds of proxies that are supported"
	case u.Hostname() == "":
		return "has no host"
	case u.Path != "" && u.Path != "/" || u.Fragment != "":
		return "has a path or a fragment"
	case len(query) > 0 || u.RawQuery != "" && resolve != "proxy" && resolve != "berth":
		return "has a query other than resolve=proxy and resolve=berth"
	case password == "xxxxx":
		return "is what was printed, without its password; put the URL itself"
	default:
		return ""
	}
}

func isProxyName(s string) bool {
	return s != "" && len(s) <= 63 && s[0] != '-' && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-'
	})
}
