package main

import (
	"maps"
	"net"
	"slices"

	"github.com/berth-registry/berth/pkg/boot"
	"github.com/berth-registry/berth/services/assemble"
)

type serveCommand struct{ settings }

// Help is the longer text of --help.
func (serveCommand) Help() string {
	return `Every flag is also a key of the configuration file (--data-dir is data_dir) and a variable of the environment (BERTH_DATA_DIR). Flags win over the environment, the environment over the file. Defaults: berth config print.

  berth serve                                          localhost:5000 is the registry, everyone on this machine may push
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
		attrs = append(attrs, "version", boot.ReadVersion().Version)
		b := newBanner(loaded.Config, d, addrs)
		log.InfoContext(e.ctx, "serving", append(attrs, b.attrs()...)...)
		if boot.LogFormat(e.stderr, loaded.Config) == "text" {
			b.print(e.stdout)
		}
	})
	return d.Run(e.ctx)
}
