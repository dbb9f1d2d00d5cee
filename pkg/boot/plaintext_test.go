package boot

import (
	"errors"
	"strings"
	"testing"
)

// TestS26_ListenersNeedTLS where other machines reach them, unless the operator has
// named them: the error says which setting, and what to do.
func TestS26_ListenersNeedTLS(t *testing.T) {
	key := NewSecret(strings.Repeat("k", 32))
	dir := t.TempDir()
	node := func(edit func(*Config)) Config {
		c := Default()
		c.Meta, c.Blobs, c.Redis = NewURL("postgres://berth@db/berth"), NewURL("s3://bucket?region=x"), NewURL("redis://cache:6379")
		c.OperatorToken, c.InternalKey, c.SecretKey = key, key, key
		edit(&c)
		return c
	}
	for _, c := range []struct {
		name string
		edit func(*Config)
		want string // the setting that is refused; empty for none
		cure string
	}{
		{"all on loopback", func(*Config) {}, "", ""},
		{"other spellings of loopback", func(c *Config) {
			c.AdminAddr, c.AdminGRPCAddr, c.InternalAddr = "localhost:1", "[::1]:2", "127.9.9.9:3"
		}, "", ""},
		{"REST on all addresses", func(c *Config) { c.AdminAddr = ":5080" }, "admin_addr", "admin_tls_certs"},
		{"REST on an address", func(c *Config) { c.AdminAddr = "10.0.0.7:5080" }, "admin_addr", "plaintext_listeners: admin"},
		{"REST at a name", func(c *Config) { c.AdminAddr = "localhost.example.com:5080" }, "admin_addr", "127.0.0.1"},
		{"gRPC on all addresses", func(c *Config) { c.AdminGRPCAddr = "[::]:5081" }, "admin_grpc_addr", "admin_tls_certs"},
		{"gRPC with TLS", func(c *Config) { c.AdminGRPCAddr, c.AdminTLSCerts = ":5081", dir }, "", ""},
		{"both named", func(c *Config) {
			c.AdminAddr, c.AdminGRPCAddr, c.PlaintextListeners = ":5080", ":5081", []string{"admin"}
		}, "", ""},
		{"only the other named", func(c *Config) { c.AdminAddr, c.PlaintextListeners = ":5080", []string{"internal"} }, "admin_addr", "admin"},
		{"no admin API here", func(c *Config) { c.AdminAddr, c.Services = ":5080", []string{JanitorService} }, "", ""},
		{"internal on all addresses", func(c *Config) { c.InternalAddr = "0.0.0.0:5091" }, "internal_addr", "internal_tls_certs"},
		{"internal, named", func(c *Config) { c.InternalAddr, c.PlaintextListeners = ":5091", []string{"internal"} }, "", ""},
		{"internal with TLS", func(c *Config) { c.InternalAddr, c.InternalTLSCerts, c.InternalTLSCA = ":5091", dir, "ca.crt" }, "", ""},
		{"internal that is closed", func(c *Config) { c.InternalAddr, c.InternalKey = ":5091", Secret{} }, "", ""},
		{"internal of a janitor", func(c *Config) { c.InternalAddr, c.Services = ":5091", []string{JanitorService} }, "", ""},
		{"a listener that is not there", func(c *Config) { c.PlaintextListeners = []string{"data"} }, "plaintext_listeners", "admin"},
		{"certificates without authorities", func(c *Config) { c.InternalTLSCerts = dir }, "internal_tls_ca", "authorities"},
		{"authorities without certificates", func(c *Config) { c.InternalTLSCA = "ca.crt" }, "internal_tls_certs", "certificate"},
		{"a call without TLS", func(c *Config) {
			c.InternalTLSCerts, c.InternalTLSCA, c.ProxyURL = dir, "ca.crt", NewURL("http://proxy:5091")
		}, "proxy_url", "https://"},
	} {
		err := node(c.edit).Check()
		var problems Problems
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.want != "" && (!errors.As(err, &problems) || len(problems) != 1 || problems[0].Setting != c.want || !strings.Contains(problems[0].What, c.cure)):
			t.Errorf("%s: got %v, want one problem with %s that says %q", c.name, err, c.want, c.cure)
		}
	}
	c := node(func(c *Config) { c.InternalAddr, c.InternalTLSCerts = "10.0.0.7:5091", dir })
	if got := c.InternalURL(); got != "https://10.0.0.7:5091" {
		t.Errorf("other nodes are told %s", got)
	}
}
