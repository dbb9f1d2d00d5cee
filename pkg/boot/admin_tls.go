package boot

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"strings"
)

// DialAdmin connects to the admin API of the server with this configuration, on
// this machine. It trusts exactly the certificates of admin_tls_certs, and has the
// signature of http.Transport's DialTLSContext.
func (c Config) DialAdmin(ctx context.Context, network, addr string) (net.Conn, error) {
	set, err := readCerts(c.AdminTLSCerts, nil)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", settingAdminCerts, err)
	}
	pool, name := x509.NewCertPool(), ""
	for _, cert := range set.sorted() {
		pool.AddCert(cert.Leaf)
		if names := namesOf(cert.Leaf); name == "" && len(names) > 0 {
			name = strings.Replace(names[0], "*", "admin", 1)
		}
	}
	d := tls.Dialer{
		NetDialer: &net.Dialer{Timeout: internalDialTimeout},
		Config:    &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}, RootCAs: pool, ServerName: name},
	}
	return d.DialContext(ctx, network, addr)
}
