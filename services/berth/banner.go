package main

import (
	"cmp"
	"fmt"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/berth-registry/berth/pkg/boot"
	"github.com/berth-registry/berth/services/assemble"
)

// banner is printed once everything serves. Fields of services that this process
// does not run are empty.
type banner struct {
	services string // that a part of a deployment runs; empty where it is all of them
	registry string // host of the tenant default's registry, with its port
	tenants  string // hosts of all registries
	scheme   string // that clients use
	may      string // what anyone may do at registry
	admin    string // URL of the admin API
	token    string // file that holds the operator token
	data     string // directory that holds the data
	first    bool
}

// newBanner collects the banner's values.
func newBanner(c boot.Config, d *assemble.Deployment, addrs map[string]net.Addr) banner {
	b := banner{scheme: c.Scheme(), first: d.First}
	if c.Split() {
		b.services = strings.Join(c.Services, ", ")
	}
	if addr, ok := addrs["data_addr"]; ok && c.Runs(boot.RegistryService) {
		b.tenants = public(c, "TENANT."+c.BaseDomain, addr)
		if d.Default != nil {
			b.registry, b.may = public(c, "localhost", addr), mayDo(*d.Default)
		}
	}
	if addr, ok := addrs["admin_addr"]; ok {
		b.admin = adminScheme(c) + reach("localhost", addr)
		b.token = absolute(cmp.Or(d.OperatorToken, c.OperatorTokenFile))
	}
	if c.Embedded() {
		b.data = absolute(c.DataDir)
	}
	return b
}

func adminScheme(c boot.Config) string {
	if c.AdminTLSCerts != "" {
		return "https://"
	}
	return "http://"
}

// mayDo says what needs no account.
func mayDo(r assemble.DefaultRegistry) string {
	switch {
	case r.AnonymousPush:
		return "anyone who reaches it may pull and push"
	case r.AnonymousPull:
		return "anyone who reaches it may pull; pushing needs an account, or --anonymous-push"
	default:
		return "pulling and pushing need an account"
	}
}

// public is a host with the port that clients use. Which one a proxy before this
// process has is not known here.
func public(c boot.Config, host string, addr net.Addr) string {
	if c.PublicScheme != "" || len(c.TrustedProxies) > 0 {
		return host
	}
	at := reach(host, addr)
	if c.Scheme() == "https" {
		at = strings.TrimSuffix(at, ":443")
	}
	return at
}

// attrs is the banner for logs.
func (b banner) attrs() []any {
	var attrs []any
	for _, a := range []struct{ key, value string }{
		{"services", b.services},
		{"scheme", b.scheme},
		{"registry", b.registry},
		{"registries", b.tenants},
		{"anybody", b.may},
		{"admin_api", b.admin},
		{"operator_token_file", b.token},
		{"data_dir", b.data},
	} {
		if a.value != "" {
			attrs = append(attrs, a.key, a.value)
		}
	}
	return attrs
}

// print writes the banner for people: at the first start with what to type next.
func (b banner) print(w io.Writer) {
	fmt.Fprintf(w, "\nBerth %s is ready", boot.ReadVersion().Version)
	if b.services != "" {
		fmt.Fprintf(w, ": %s", b.services)
	}
	fmt.Fprintln(w, ".")
	row := func(name, value, more string) {
		if value != "" {
			fmt.Fprintf(w, "  %-15s %s%s\n", name, value, more)
		}
	}
	if b.registry != "" {
		row("registry", b.scheme+"://"+b.registry, " ("+b.may+")")
	}
	if b.tenants != "" {
		row("other tenants", b.scheme+"://"+b.tenants, "")
	}
	row("admin API", b.admin, "")
	row("operator token", b.token, "")
	row("data", b.data, "")
	if b.first {
		b.teach(w)
	}
}

// teach says what to type next.
func (b banner) teach(w io.Writer) {
	if b.registry != "" {
		fmt.Fprintf(w, `
Pull through it; what was fetched once stays here:
  docker pull %[1]s/library/alpine
  docker pull %[1]s/proxy/quay.io/prometheus/busybox
`, b.registry)
		if strings.HasSuffix(b.may, "pull and push") {
			fmt.Fprintf(w, `
Push an image of your own and pull it back:
  docker tag %[1]s/library/alpine %[1]s/my/alpine:1
  docker push %[1]s/my/alpine:1 && docker pull %[1]s/my/alpine:1
`, b.registry)
		}
	}
	if b.admin != "" {
		token := "$BERTH_OPERATOR_TOKEN"
		if b.token != "" {
			token = "$(cat '" + b.token + "')"
		}
		fmt.Fprintf(w, `
Make a tenant with a registry of its own, at %s:
  curl -H "Authorization: Bearer %s" -d '{}' '%s/v1/tenants?tenant_id=acme'
`, strings.Replace(b.tenants, "TENANT", "acme", 1), token, b.admin)
	}
}

// absolute is the path as seen from any directory.
func absolute(path string) string {
	if path == "" {
		return ""
	}
	if whole, err := filepath.Abs(path); err == nil {
		return whole
	}
	return path
}

// reach is how this machine names a bound address: by the host, unless only
// another address leads there.
func reach(host string, addr net.Addr) string {
	ap, err := netip.ParseAddrPort(addr.String())
	if err != nil {
		return addr.String()
	}
	if ip := ap.Addr(); !ip.IsLoopback() && !ip.IsUnspecified() && host == "localhost" {
		host = ip.String()
	}
	return net.JoinHostPort(host, strconv.Itoa(int(ap.Port())))
}
