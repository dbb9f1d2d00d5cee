package main

import (
	"bytes"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/boot"
	"github.com/berth-registry/berth/services/assemble"
)

// bound are listeners of a process, by their settings.
func bound(t *testing.T, at ...string) map[string]net.Addr {
	t.Helper()
	addrs := map[string]net.Addr{}
	for _, pair := range at {
		setting, text, _ := strings.Cut(pair, "=")
		addr, err := net.ResolveTCPAddr("tcp", text)
		if err != nil {
			t.Fatal(err)
		}
		addrs[setting] = addr
	}
	return addrs
}

// TestP2_BannerSaysWhatWorksInThisShape looks at the banner of each shape.
func TestP2_BannerSaysWhatWorksInThisShape(t *testing.T) {
	here, err := filepath.Abs("berth-data")
	if err != nil {
		t.Fatal(err)
	}
	whole := bound(t, "data_addr=127.0.0.1:5000", "admin_addr=127.0.0.1:5080")
	cluster := func(c *boot.Config) {
		c.Meta, c.Blobs, c.BaseDomain = boot.NewURL("postgres://db/berth"), boot.NewURL("s3://berth"), "registry.example.com"
		c.OperatorTokenFile = "/etc/berth/operator-token"
	}
	open := &assemble.DefaultRegistry{AnonymousPull: true, AnonymousPush: true}
	for _, c := range []struct {
		name   string
		change func(*boot.Config)
		d      assemble.Deployment
		addrs  map[string]net.Addr
		has    []string
		hasNot []string
	}{
		{
			"first start", func(*boot.Config) {},
			assemble.Deployment{First: true, Default: open, OperatorToken: "berth-data/operator-token"},
			whole,
			[]string{"http://localhost:5000 (anyone who reaches it may pull and push)", here + "\n", here + "/operator-token", "docker push localhost:5000/my/alpine:1", "acme.localhost:5000", "$(cat '" + here + "/operator-token')", boot.ReadVersion().Version},
			nil,
		},
		{
			"later start, no push", func(*boot.Config) {},
			assemble.Deployment{Default: &assemble.DefaultRegistry{AnonymousPull: true}},
			whole,
			[]string{"may pull; pushing needs an account, or --anonymous-push"},
			[]string{"docker push", "may pull and push"},
		},
		{"no tenant default", func(*boot.Config) {}, assemble.Deployment{First: false}, whole, []string{"http://TENANT.localhost:5000"}, []string{"default", "docker"}},
		{
			"TLS", func(c *boot.Config) { c.TLSCerts, c.BaseDomain = "certs", "registry.example.com" },
			assemble.Deployment{First: true, Default: open},
			bound(t, "data_addr=0.0.0.0:443", "admin_addr=127.0.0.1:5080"),
			[]string{"https://localhost (", "docker push localhost/my"},
			[]string{":443", "default."},
		},
		{
			"behind a proxy", func(c *boot.Config) { c.PublicScheme, c.BaseDomain = "https", "registry.example.com" },
			assemble.Deployment{Default: open},
			whole,
			[]string{"https://localhost ("},
			[]string{":5000", "default."},
		},
		{
			"node of a cluster", cluster,
			assemble.Deployment{},
			bound(t, "data_addr=0.0.0.0:5000", "admin_addr=0.0.0.0:5080"),
			[]string{"http://TENANT.registry.example.com:5000", "/etc/berth/operator-token"},
			[]string{"default", "docker", "berth-data"},
		},
		{
			"janitor alone", func(c *boot.Config) { cluster(c); c.Services = []string{"janitor"} },
			assemble.Deployment{},
			bound(t, "ops_addr=127.0.0.1:5090"),
			[]string{"janitor"},
			[]string{"TENANT", "http", "operator-token"},
		},
		{
			"admin alone", func(c *boot.Config) { cluster(c); c.Services = []string{"admin"} },
			assemble.Deployment{},
			bound(t, "admin_addr=127.0.0.1:5080"),
			[]string{"admin API", "http://localhost:5080"},
			[]string{"TENANT", "docker"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := boot.Default()
			c.change(&config)
			var out bytes.Buffer
			newBanner(config, &c.d, c.addrs).print(&out)
			for _, want := range c.has {
				if !strings.Contains(out.String(), want) {
					t.Errorf("it does not say %q:\n%s", want, &out)
				}
			}
			for _, wrong := range c.hasNot {
				if strings.Contains(out.String(), wrong) {
					t.Errorf("it says %q:\n%s", wrong, &out)
				}
			}
		})
	}
}
