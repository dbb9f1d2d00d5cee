package boot

import (
	"net/netip"
	"net/url"
	"path/filepath"
)

// AuditStdout is the value of audit_sink for the standard output.
const AuditStdout = "stdout"

// checkAuditSink names no part of a webhook's URL, which may hold a secret.
func (c Config) checkAuditSink(p *Problems) {
	where := c.AuditSink.Reveal()
	u, err := url.Parse(where)
	switch {
	case c.AuditSink.IsZero() && c.AuditPulls:
		p.add("audit_pulls", "needs audit_sink: pulls are sent there, and kept nowhere else")
	case c.AuditSink.IsZero(), where == AuditStdout:
	case err != nil:
		p.add("audit_sink", "is not a URL, file:/path or stdout")
	case u.Scheme == "file":
		if !filepath.IsAbs(u.Path) || u.Host != "" {
			p.add("audit_sink", "names no file; give its whole path, such as file:/var/log/berth/audit.jsonl")
		}
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		p.add("audit_sink", "sends names and addresses in clear; use https, or a relay at a loopback address")
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil:
		p.add("audit_sink", "is not stdout, file:/path, or an https URL without user and password; a token is in audit_sink_token_file")
	}
	if !c.AuditSinkToken.IsZero() && (u == nil || u.Scheme != "https" && u.Scheme != "http") {
		p.add("audit_sink_token", "is for a webhook; audit_sink names none")
	}
}

func isLoopback(host string) bool {
	at, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && at.Unmap().IsLoopback()
}
