package boot

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"maps"
	"math/big"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/fsnotify/fsnotify"
)

// certPoll is how often the directory is read without a reported change: network
// file systems report none.
const certPoll = time.Minute

// certSettle is how long changes must pause before the directory is read, so
// that a certificate is not read before its key is written.
const certSettle = 200 * time.Millisecond

// certificates serves the certificates of a directory by the requested name, and
// reloads changed files. A pair is name.crt (or name.pem) and name.key, in the
// directory or a direct subdirectory, as Kubernetes mounts secrets (tls.crt and
// tls.key); a .pem without a .key holds both. It is safe for concurrent use.
type certificates struct {
	certificateDir
	base string // the base domain
	log  *slog.Logger
	own  *tls.Certificate // made at the start, without names
	held atomic.Pointer[certSet]

	authorities *authorities // reloaded together with the certificates; may be nil
}

// openCertificates reads the directory. At this first reading every pair must be
// valid and one must exist; the error names the file.
func openCertificates(at certificateDir, base string, log *slog.Logger) (*certificates, error) {
	own, err := namelessCertificate()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", at.setting, err)
	}
	c := &certificates{certificateDir: at, base: base, log: log, own: own}
	set, err := readCerts(at.dir, nil)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", at.setting, err)
	}
	c.held.Store(set)
	c.warnExpired(set)
	return c, nil
}

// config is for a listener: TLS 1.2 or later, HTTP/2 and HTTP/1.1. A client that
// asks for a name without certificate gets the alert unrecognized_name. The handler
// compares that name, Request.TLS.ServerName, with the Host of a request.
func (c *certificates) config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: c.find,
	}
}

// find prefers an exact name to a wildcard, and certificates that the client
// supports. A client that names no server gets a certificate without a tenant's
// name.
func (c *certificates) find(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	set := c.held.Load()
	name := strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))
	var candidates []*tls.Certificate
	if name == "" {
		candidates = c.unnamed(set, hello.Conn.LocalAddr())
	} else {
		candidates = append(candidates, set.byName[name]...)
		if _, parent, ok := strings.Cut(name, "."); ok {
			candidates = append(candidates, set.byName["*."+parent]...)
		}
	}
	for _, cert := range candidates {
		if hello.SupportsCertificate(cert) == nil {
			return cert, nil
		}
	}
	if len(candidates) > 0 {
		return candidates[0], nil // the handshake reports what does not fit
	}
	// With neither certificate nor error crypto/tls answers unrecognized_name.
	return nil, nil
}

// unnamed lists the certificates for clients that name no server, such as scanners:
// first the operator's default, then those that name only addresses and the base
// domain, with the connection's own address first. The last one has no names, so that
// probes without verification work.
func (c *certificates) unnamed(set *certSet, at net.Addr) []*tls.Certificate {
	var chosen, of, others []*tls.Certificate
	local := ""
	if tcp, ok := at.(*net.TCPAddr); ok {
		local = tcp.AddrPort().Addr().Unmap().String()
	}
	for _, file := range slices.Sorted(maps.Keys(set.pairs)) {
		cert := set.pairs[file]
		names := namesOf(cert.Leaf)
		switch {
		case strings.TrimSuffix(filepath.Base(file), filepath.Ext(file)) == defaultPair:
			chosen = append(chosen, cert)
		case !c.isNeutral(cert.Leaf):
		case slices.Contains(names, local):
			of = append(of, cert)
		default:
			others = append(others, cert)
		}
	}
	return append(slices.Concat(chosen, of, others), c.own)
}

// defaultPair is the name of the pair for clients that name no server.
const defaultPair = "default"

// isNeutral reports whether the certificate, including its subject, names nothing
// below the base domain and no domain of a tenant.
func (c *certificates) isNeutral(leaf *x509.Certificate) bool {
	names := namesOf(leaf)
	if leaf.Subject.CommonName != "" {
		names = append(names, strings.ToLower(leaf.Subject.CommonName))
	}
	return !slices.ContainsFunc(names, func(n string) bool {
		return n != c.base && n != "*."+c.base && n != "localhost" && net.ParseIP(n) == nil
	})
}

// namelessCertificate makes a certificate that no client trusts.
func namelessCertificate() (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: now.Add(-24 * time.Hour), NotAfter: now.AddDate(10, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// watch reads the directory again whenever it changes, until ctx ends. A pair
// that cannot be read leaves the old one in place and is logged.
func (c *certificates) watch(ctx context.Context) error {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch %s: %w", c.dir, err)
	}
	defer watcher.Close()
	poll := time.NewTicker(certPoll)
	defer poll.Stop()
	settle := time.NewTimer(0) // fires at once: files may have changed since openCertificates
	defer settle.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-watcher.Events:
			settle.Reset(certSettle)
		case err := <-watcher.Errors:
			c.log.Warn("a change of the certificates may have been missed, they are read again", "dir", c.dir, "error", err)
			settle.Reset(certSettle)
		case <-poll.C:
			c.watchDirs(watcher)
			c.reload()
		case <-settle.C:
			// Watch before reading, so that no change is missed.
			c.watchDirs(watcher)
			c.reload()
		}
	}
}

// watchDirs watches the directories with pairs; adding one again does nothing.
func (c *certificates) watchDirs(watcher *fsnotify.Watcher) {
	dirs, err := certDirs(c.dir)
	if err != nil {
		c.log.Error("certificates that cannot be read stay as they were", "error", err)
		return
	}
	if c.authorities != nil {
		dirs = append(dirs, filepath.Dir(c.authorities.file))
	}
	for _, d := range dirs {
		if err := watcher.Add(d); err != nil {
			c.log.Warn("a directory of certificates is not watched, only polled", "dir", d, "error", err)
		}
	}
}

func (c *certificates) reload() {
	if c.authorities != nil {
		c.authorities.reload(c.log)
	}
	old := c.held.Load()
	set, err := readCerts(c.dir, old)
	if err != nil {
		c.log.Error("certificates that cannot be read stay as they were", "error", err)
	}
	if set == nil || set.equal(old) {
		return
	}
	c.held.Store(set)
	c.warnExpired(set)
	c.log.Info("certificates read again", "dir", c.dir, "pairs", len(set.pairs))
}

func (c *certificates) warnExpired(set *certSet) {
	for path, cert := range set.pairs {
		if time.Now().After(cert.Leaf.NotAfter) {
			c.log.Warn("certificate has expired", "file", path, "not_after", cert.Leaf.NotAfter)
		}
	}
}
