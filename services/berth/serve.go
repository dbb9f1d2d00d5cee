package main

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/berth-registry/berth/pkg/boot"
	"github.com/berth-registry/berth/services/assemble"
)

type serveCommand struct{ settings }

// Help is the longer text of --help.
func (serveCommand) Help() string {
	return `Every flag is also a key of the configuration file (--data-dir is data_dir) and a variable of the environment (BERTH_DATA_DIR). Flags win over the environment, the environment over the file. Defaults: berth config print.

  berth serve                                          localhost:5000 is the registry, everybody on this machine may push
  berth serve --data-dir /var/lib/berth --seed tenants.yaml
  berth serve --base-domain registry.example.com --data-addr :443 --tls-certs /etc/berth/certs
  berth serve --data-addr :5000 --public-scheme https --trusted-proxies 10.0.0.0/8      behind a proxy that ends TLS
  berth serve --meta-file meta.url --blobs 's3://berth?region=eu-central-1'             a node of a cluster
  berth serve --meta-file meta.url --blobs 's3://berth?region=eu-central-1' --services registry,token

SIGTERM or an interrupt stops in order: running uploads and downloads get --shutdown-timeout to finish. A second one stops at once.`
}

// Run serves until the process is told to stop.
func (c serveCommand) Run(e *env) error {
	loaded, err := c.load(e)
	if err != nil {
		return err
	}
	log, err := boot.NewLogger(e.stderr, loaded.Config)
	if err != nil {
		return err
	}
	d, err := assemble.New(e.ctx, loaded.Config, log)
	if err != nil {
		return err
	}
	d.OnReady(func(addrs map[string]net.Addr) {
		var attrs []any
		for _, setting := range slices.Sorted(maps.Keys(addrs)) {
			attrs = append(attrs, setting, addrs[setting].String())
		}
		log.InfoContext(e.ctx, "serving", attrs...)
		greet(e, loaded.Config, d, addrs)
	})
	return d.Run(e.ctx)
}

// greet says what to type next: at the first start all of it, later where the
// registry is and where its token lies. A process that runs a part of the
// services has no first start, and who started it knows what for.
func greet(e *env, c boot.Config, d *assemble.Deployment, addrs map[string]net.Addr) {
	if c.Split() {
		fmt.Fprintf(e.stdout, "\nBerth is ready: %s\n", strings.Join(c.Services, ", "))
		return
	}
	registry := reach("localhost", addrs["data_addr"])
	admin := "http://" + reach("localhost", addrs["admin_addr"])
	fmt.Fprintf(e.stdout, "\nBerth is ready: registry %s, admin API %s\n", registry, admin)
	token := "$BERTH_OPERATOR_TOKEN"
	if d.OperatorToken != "" {
		fmt.Fprintf(e.stdout, "Operator token: %s\n", d.OperatorToken)
		token = "$(cat " + d.OperatorToken + ")"
	}
	if !d.First {
		return
	}
	fmt.Fprintf(e.stdout, `
Pull through it; what was fetched once stays here:
  docker pull %[1]s/library/alpine
  docker pull %[1]s/proxy/quay.io/prometheus/busybox

Push an image of your own and pull it back:
  docker tag %[1]s/library/alpine %[1]s/my/alpine:1
  docker push %[1]s/my/alpine:1 && docker pull %[1]s/my/alpine:1

Make a tenant with a registry of its own, at %[2]s:
  curl -H "Authorization: Bearer %[3]s" -d '{}' '%[4]s/v1/tenants?tenant_id=acme'
`, registry, reach("acme."+c.BaseDomain, addrs["data_addr"]), token, admin)
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
