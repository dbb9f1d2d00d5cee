package boot

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"time"
)

// internalDialTimeout is how long another process of the deployment may take to
// connect, its handshake included.
const internalDialTimeout = 5 * time.Second

// InternalTLS is the TLS of calls between the processes of a deployment: both ends
// have a certificate of the deployment's authorities (contract row S27). Changed
// files are reloaded. It is safe for concurrent use.
type InternalTLS struct {
	certs *certificates
	name  string // required of called processes; empty: the called host
}

func openInternalTLS(c Config, log *slog.Logger) (*InternalTLS, error) {
	held, err := readAuthorities(c.InternalTLSCA)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", settingInternalCA, err)
	}
	certs, err := openCertificates(certificateDir{settingInternalCerts, c.InternalTLSCerts}, c.BaseDomain, log)
	if err != nil {
		return nil, err
	}
	certs.authorities = &authorities{file: c.InternalTLSCA}
	certs.authorities.held.Store(held)
	return &InternalTLS{certs, c.InternalTLSName}, nil
}

// Server is for the listener. Sessions are not resumed, so that certificates of a
// removed authority are refused at once.
func (t *InternalTLS) Server() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			return &tls.Config{
				MinVersion:             tls.VersionTLS13,
				NextProtos:             internalProtocols,
				ClientAuth:             tls.RequireAndVerifyClientCert,
				ClientCAs:              t.certs.authorities.held.Load().pool,
				GetCertificate:         t.certs.findAny,
				SessionTicketsDisabled: true,
			}, nil
		},
	}
}

// HTTP/1.1 only: calls are copied in both directions at once, and end with their
// connection if one direction ends early.
var internalProtocols = []string{"http/1.1"}

// Dial connects to another process. It has the signature of http.Transport's
// DialTLSContext.
func (t *InternalTLS) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	name := t.name
	if name == "" {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		name = host
	}
	d := tls.Dialer{
		NetDialer: &net.Dialer{Timeout: internalDialTimeout},
		Config: &tls.Config{
			MinVersion:           tls.VersionTLS13,
			NextProtos:           internalProtocols,
			ServerName:           name,
			RootCAs:              t.certs.authorities.held.Load().pool,
			GetClientCertificate: t.certs.forServer,
		},
	}
	c, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, fmt.Errorf("TLS to %s as %s: %w", addr, name, err)
	}
	return c, nil
}

// findAny is find for a listener whose names are not secret: it returns a
// certificate for any requested name.
func (c *certificates) findAny(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	set := c.held.Load()
	candidates := append(append([]*tls.Certificate(nil), set.byName[hello.ServerName]...), set.sorted()...)
	for _, cert := range candidates {
		if hello.SupportsCertificate(cert) == nil {
			return cert, nil
		}
	}
	return candidates[0], nil // the client reports what does not fit
}

// forServer is the newest certificate that the server accepts.
func (c *certificates) forServer(asked *tls.CertificateRequestInfo) (*tls.Certificate, error) {
	certs := c.held.Load().sorted()
	for _, cert := range certs {
		if asked.SupportsCertificate(cert) == nil {
			return cert, nil
		}
	}
	return certs[0], nil // the server reports the error
}

// authorities are the certificate authorities of a file.
type authorities struct {
	file string
	held atomic.Pointer[authoritySet]
}

// authoritySet is one reading of the file.
type authoritySet struct {
	text []byte
	pool *x509.CertPool
}

func readAuthorities(file string) (*authoritySet, error) {
	text, err := readSmallFile(file)
	if err != nil {
		return nil, errors.New(fileProblem(file, err))
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s holds no certificate in PEM", file)
	}
	return &authoritySet{text, pool}, nil
}

// reload reads the file again. On an error the current authorities stay.
func (a *authorities) reload(log *slog.Logger) {
	set, err := readAuthorities(a.file)
	if err != nil {
		log.Error("authorities that cannot be read stay as they were", "error", err)
		return
	}
	if bytes.Equal(set.text, a.held.Load().text) {
		return
	}
	a.held.Store(set)
	log.Info("authorities read again", "file", a.file)
}
