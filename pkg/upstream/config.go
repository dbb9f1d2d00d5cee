package upstream

import (
	"log/slog"
	"net/netip"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/berth-registry/berth/pkg/credential"
	"github.com/berth-registry/berth/pkg/fault"
)

// Config is one upstream as its tenant configured it.
type Config struct {
	Key      string // unique among the upstreams of a process; stays when the configuration changes
	Tenant   string // slug, for metrics
	Upstream string // slug, for metrics and messages

	Target

	// AuthHosts are "host" or "host:port": token endpoints, besides the upstream's own host,
	// that may get the credential. They get the client certificate of Target, too.
	AuthHosts []string

	Proxy  string // name of the proxy in Options.Proxies; empty: Options.Environment decides
	Limits Limits

	// Alternatives are other URLs of the same registry. Each is asked if those before it
	// do not answer. It gets no credential of Target; without a CA of its own, that of Target
	// applies. Only its own host gets its client certificate.
	Alternatives []Target

	// Helper obtains the credential instead; nil for none. Username and Password are empty
	// then, and only hosts that it lists, and not AuthHosts, get the credential besides the
	// upstream's own.
	Helper *credential.Helper

	// TrustNotFound takes each 404 of the upstream's host as an absence, also one that
	// may not be from a registry.
	TrustNotFound bool
}

// Limits are an upstream's own; zero values mean the defaults.
type Limits struct {
	Connect  time.Duration // to resolve and connect, and again for TLS
	Response time.Duration // for a whole document, or the header of a blob; token and redirects included
	Progress time.Duration // for the next part of a blob, at 1 KiB/s
	Pace     float64       // requests per second, of this process
	Requests int           // in flight, of this process
}

// Target is a URL of an upstream, with the credentials that only its own host gets, and the
// authorities that are trusted for it.
type Target struct {
	URL      string // as CheckURL takes it
	Username string // both empty: anonymous. For ECR an access key id, or "AWS" with a password
	Password string // for ECR with an access key id: the secret key
	CA       string // certificates in PEM that are trusted besides those of Options.Authorities

	ClientCertificate, ClientKey string            // in PEM
	Headers                      map[string]string // by name
}

func (c Config) equal(d Config) bool {
	same := c.Helper == d.Helper
	c.Helper, d.Helper = nil, nil
	return same && reflect.DeepEqual(c, d) //nolint:govet // the errors are those of helpers, which are nil here
}

// String omits the credential, so that it is not printed by mistake.
func (c Config) String() string { return c.Tenant + "/" + c.Upstream + " at " + c.URL }

// LogValue implements slog.LogValuer, without the credential.
func (c Config) LogValue() slog.Value { return slog.StringValue(c.String()) }

// CheckURL checks that raw can be the URL of an upstream: http or https, a host, an
// optional port, and nothing else. Errors are of kind fault.Invalid and name the
// field "url". Whether the address is allowed is checked at each connection; http
// works only within Options.Allow.
func CheckURL(raw string) error {
	_, err := baseURL(raw)
	return err
}

// baseURL is the URL below which the registry's /v2/ is.
func baseURL(raw string) (*url.URL, error) {
	u, problem := parseURL(raw)
	switch {
	case problem != "":
	case u.Path != "" && u.Path != "/":
		problem = "has a path; a prefix of names belongs in name_prefix"
	case u.RawQuery != "" || u.ForceQuery:
		problem = "has a query"
	case u.Fragment != "" || strings.Contains(raw, "#"):
		problem = "has a fragment"
	}
	if problem != "" {
		return nil, fault.New(fault.Invalid, fault.RequestInvalid,
			"the URL of an upstream is like https://ghcr.io or https://registry.example.com:8443; this one %s", problem).WithField("url")
	}
	u.Path = ""
	// Docker Hub's API has another host than docker.io.
	if u.Scheme == "https" && (u.Host == "docker.io" || u.Host == "index.docker.io") {
		u.Host = hubHost
	}
	return u, nil
}

// parseURL parses an http or https URL. The host of the result is in lower case and
// without the default port. The problem, empty for none, never contains the URL,
// which may have a password.
func parseURL(raw string) (*url.URL, string) {
	const mostBytes = 8 << 10 // signed URLs are long
	if len(raw) > mostBytes {
		return nil, "is too long"
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return nil, "cannot be parsed"
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, "is neither https nor http"
	case u.User != nil:
		return nil, "has a user name in it"
	case u.Opaque != "" || u.Host == "":
		return nil, "has no host"
	}
	host, port := strings.ToLower(u.Hostname()), u.Port()
	if problem := checkHost(host, strings.HasPrefix(u.Host, "[")); problem != "" {
		return nil, problem
	}
	if port == "" && strings.HasSuffix(u.Host, ":") {
		return nil, "has an empty port"
	}
	if port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || port[0] == '0' {
			return nil, "has an invalid port"
		}
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if port != "" && port != impliedPort(u.Scheme) {
		host += ":" + port
	}
	u.Host = host
	return u, ""
}

func impliedPort(scheme string) string {
	if scheme == "http" {
		return "80"
	}
	return "443"
}

// checkHost accepts DNS names and the canonical spelling of an address. All other
// spellings of addresses (decimal, hexadecimal, octal, shortened) end in a number,
// which no DNS name does (WHATWG URL, "ends in a number").
func checkHost(host string, bracketed bool) string {
	const wrong = "has an invalid host"
	if addr, err := netip.ParseAddr(host); err == nil {
		if addr.Zone() != "" || addr.Is6() != bracketed {
			return wrong
		}
		return ""
	}
	if bracketed || len(host) > 253 {
		return wrong
	}
	last := host[strings.LastIndexByte(host, '.')+1:]
	if last == "" || last[0] >= '0' && last[0] <= '9' {
		return wrong
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' || strings.ContainsFunc(label, notInLabel) {
			return wrong
		}
	}
	return ""
}

// notInLabel also allows the underscore, for names in container networks.
func notInLabel(r rune) bool {
	return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_'
}

// sameOrigin compares two results of parseURL.
func sameOrigin(a, b *url.URL) bool { return a.Scheme == b.Scheme && a.Host == b.Host }
