package boot

import (
	"net/url"
	"slices"
	"strings"
)

// The services a process can run.
const (
	RegistryService = "registry"
	UploadService   = "upload"
	TokenService    = "token"
	AdminService    = "admin"
	JanitorService  = "janitor"
	ProxyService    = "proxy"
)

var allServices = []string{RegistryService, UploadService, TokenService, AdminService, JanitorService, ProxyService}

// Runs reports whether this process runs the service.
func (c Config) Runs(service string) bool {
	return len(c.Services) == 0 || slices.Contains(c.Services, service)
}

// Split reports whether other processes run some of the services.
func (c Config) Split() bool {
	return slices.ContainsFunc(allServices, func(s string) bool { return !c.Runs(s) })
}

// checkServices refuses settings that cannot work, or not safely, with services in
// several processes and machines.
func (c Config) checkServices(p *Problems) {
	for i, s := range c.Services {
		switch {
		case !slices.Contains(allServices, s):
			p.add("services", "%q is not one of %s", s, strings.Join(allServices, ", "))
		case slices.Contains(c.Services[:i], s):
			p.add("services", "%s is named twice", s)
		}
	}
	if c.Split() && c.Meta.IsZero() {
		p.add("services", "%s alone needs a database that the other services share: one process at a time may have the data directory. Set meta to postgres://…, or run all services", strings.Join(c.Services, ", "))
	}
	if !c.Embedded() && c.Runs(AdminService) && c.OperatorToken.IsZero() {
		p.add("operator_token", "is not set; with a database that nodes share all of them must know the same one. Set operator_token_file, such as to a file made by `openssl rand -hex 32`")
	}
	if !c.Embedded() && c.Runs(TokenService) && c.SecretKey.IsZero() {
		p.add("secret_key", "is not set; token seals the keys that sign tokens with it, which the database keeps. Set secret_key_file to a file made by `openssl rand -hex 32`, the same for all processes that run token, proxy or admin")
	}
	c.checkCalls(p)
}

// checkCalls checks how split services reach each other.
func (c Config) checkCalls(p *Problems) {
	calls := false
	for _, u := range []struct {
		key, service string
		url          URL
	}{{"upload_url", UploadService, c.UploadURL}, {"token_url", TokenService, c.TokenURL}, {"proxy_url", ProxyService, c.ProxyURL}} {
		calls = calls || !u.url.IsZero() && !c.Runs(u.service)
		c.checkInternal(p, u.key, u.url)
	}
	c.checkInternal(p, "internal_url", c.InternalAt)
	if calls && c.InternalKey.IsZero() {
		p.add("internal_key", "is not set; split services sign the calls with it that upload_url, token_url and proxy_url lead to. Set internal_key_file to a file made by `openssl rand -hex 32`, the same for all")
	}
	if c.Split() && c.Runs(ProxyService) && !c.Runs(RegistryService) && c.InternalKey.IsZero() {
		p.add("internal_key", "is not set; proxy alone is asked by the processes that run registry, which sign their calls with it. Set internal_key_file to a file made by `openssl rand -hex 32`, the same for all")
	}
	checkSecret(p, "internal_key", c.InternalKey)
}

// Joined reports whether other processes can call this one: services are split, or
// nodes share fetches.
func (c Config) Joined() bool {
	return !c.InternalKey.IsZero() && (c.Split() || !c.Embedded() && !c.Redis.IsZero())
}

// RunsData reports whether this process has a data listener, and, if it is joined,
// an internal one.
func (c Config) RunsData() bool {
	return c.Runs(RegistryService) || c.Runs(UploadService) || c.Runs(TokenService) || c.Runs(ProxyService)
}

// checkInternal refuses an invalid URL of an internal listener.
func (c Config) checkInternal(p *Problems, key string, u URL) {
	if u.IsZero() {
		return
	}
	if c.InternalTLSCerts != "" && strings.HasPrefix(u.Reveal(), "http:") {
		p.add(key, "%s is a call without TLS, which processes with internal_tls_certs neither make nor take; write https://", u)
		return
	}
	if parsed, err := url.Parse(u.Reveal()); err != nil || parsed.Host == "" || parsed.Scheme != "http" && parsed.Scheme != "https" || strings.Trim(parsed.Path, "/") != "" {
		p.add(key, "%s is not of the form http://upload.internal:5091", u)
	}
}

// minSecret is the least length of a secret an operator chooses: 128 bits in
// hexadecimal are 32 characters, in base64 22.
const minSecret = 20

func checkSecret(p *Problems, key string, s Secret) {
	text := s.Reveal()
	switch n := len(text); {
	case text == Redacted:
		p.add(key, "%s stands for a secret that was not printed; put the secret itself, or unset it", Redacted)
	case n > 0 && n < minSecret:
		p.add(key, "has %d characters; use at least %d, such as the output of `openssl rand -hex 32`", n, minSecret)
	}
	if strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) {
		p.add(key, "holds spaces or characters that an HTTP header cannot carry")
	}
}
