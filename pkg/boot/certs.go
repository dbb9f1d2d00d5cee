package boot

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/fsnotify/fsnotify"
)

// certPoll is how often the directory is read even if no change was reported:
// network file systems report none.
const certPoll = time.Minute

// certSettle is how long changes must pause before the directory is read, so
// that a certificate is not read before its key is written.
const certSettle = 200 * time.Millisecond

// Certs serves the certificates of a directory by the name a client asks for,
// and keeps them as new as the files are. A pair is name.crt (or name.pem) and
// name.key, in the directory itself or in a directory of it, which is how
// Kubernetes mounts secrets (tls.crt and tls.key); a .pem without a .key holds
// both. It is safe for concurrent use.
type Certs struct {
	dir  string
	log  *slog.Logger
	held atomic.Pointer[certSet]
}

// certSet is one reading of the directory.
type certSet struct {
	pairs  map[string]*tls.Certificate   // by path of the certificate
	byName map[string][]*tls.Certificate // by DNS name or IP address; newest first
}

// OpenCerts reads the directory. At this first reading every pair must be good
// and one must exist; the error names the file.
func OpenCerts(dir string, log *slog.Logger) (*Certs, error) {
	c := &Certs{dir: dir, log: log}
	set, err := readCerts(dir, nil)
	if err != nil {
		return nil, fmt.Errorf("tls_certs: %w", err)
	}
	c.held.Store(set)
	c.warnExpired(set)
	return c, nil
}

// Config is for a listener: TLS 1.2 at least, HTTP/2 and HTTP/1.1. A client
// that asks for a name without certificate is refused with the alert
// unrecognized_name. Whether that name is the Host of a request is for the
// handler to see, in Request.TLS.ServerName.
func (c *Certs) Config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: c.find,
	}
}

// find picks an exact name before a wildcard, and what the client can use
// before what it cannot. A client that names no server gets the certificate of
// the address it came to, or any: it asked for none in particular.
func (c *Certs) find(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	set := c.held.Load()
	name := strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))
	var candidates []*tls.Certificate
	if name == "" {
		host, _, ok := strings.Cut(hello.Conn.LocalAddr().String(), "]:")
		if host = strings.TrimPrefix(host, "["); !ok {
			host, _, _ = strings.Cut(host, ":")
		}
		candidates = append(candidates, set.byName[host]...)
		candidates = append(candidates, set.sorted()...)
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
		return candidates[0], nil // the handshake will say what does not fit
	}
	// With neither certificate nor error crypto/tls answers unrecognized_name.
	return nil, nil
}

// Watch reads the directory again whenever it changes, until ctx ends. A pair
// that cannot be read leaves the old one in place and is logged.
func (c *Certs) Watch(ctx context.Context) error {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch %s: %w", c.dir, err)
	}
	defer watcher.Close()
	poll := time.NewTicker(certPoll)
	defer poll.Stop()
	settle := time.NewTimer(0) // fires at once: files may have changed since OpenCerts
	defer settle.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-watcher.Events:
			settle.Reset(certSettle)
		case err := <-watcher.Errors:
			c.log.Warn("watching certificates", "dir", c.dir, "error", err)
			settle.Reset(certSettle)
		case <-poll.C:
			c.watchDirs(watcher)
			c.reload()
		case <-settle.C:
			// First watch, then read: what changes in between is seen.
			c.watchDirs(watcher)
			c.reload()
		}
	}
}

// watchDirs follows the directories that hold pairs; adding one again does
// nothing.
func (c *Certs) watchDirs(watcher *fsnotify.Watcher) {
	dirs, err := certDirs(c.dir)
	if err != nil {
		c.log.Error("certificates that cannot be read stay as they were", "error", err)
		return
	}
	for _, d := range dirs {
		if err := watcher.Add(d); err != nil {
			c.log.Warn("a directory of certificates is not watched, only polled", "dir", d, "error", err)
		}
	}
}

func (c *Certs) reload() {
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

func (c *Certs) warnExpired(set *certSet) {
	for path, cert := range set.pairs {
		if time.Now().After(cert.Leaf.NotAfter) {
			c.log.Warn("certificate has expired", "file", path, "not_after", cert.Leaf.NotAfter)
		}
	}
}

// readCerts reads every pair. A bad one is replaced by the one of the same
// path in old; the set is nil only if then none is left. With an old set both
// results may be there.
func readCerts(dir string, old *certSet) (*certSet, error) {
	dirs, err := certDirs(dir)
	if err != nil {
		return nil, err
	}
	set := &certSet{pairs: map[string]*tls.Certificate{}, byName: map[string][]*tls.Certificate{}}
	var errs []error
	for _, d := range dirs {
		files, err := certFiles(d)
		if err != nil {
			errs = append(errs, err)
		}
		for _, f := range files {
			cert, err := readPair(f)
			if err != nil {
				errs = append(errs, err)
				if old == nil || old.pairs[f] == nil {
					continue
				}
				cert = old.pairs[f]
			}
			set.pairs[f] = cert
		}
	}
	if len(set.pairs) == 0 {
		errs = append(errs, fmt.Errorf("%s holds no certificate; put pairs such as example.crt and example.key there", dir))
	}
	if len(set.pairs) == 0 || old == nil && len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	for _, cert := range set.sorted() {
		for _, name := range namesOf(cert.Leaf) {
			set.byName[name] = append(set.byName[name], cert)
		}
	}
	return set, errors.Join(errs...)
}

// sorted lists the certificates, the newest first.
func (s *certSet) sorted() []*tls.Certificate {
	certs := make([]*tls.Certificate, 0, len(s.pairs))
	for _, cert := range s.pairs {
		certs = append(certs, cert)
	}
	slices.SortFunc(certs, func(a, b *tls.Certificate) int {
		return cmp.Or(b.Leaf.NotBefore.Compare(a.Leaf.NotBefore), slices.Compare(a.Leaf.Raw, b.Leaf.Raw))
	})
	return certs
}

func (s *certSet) equal(other *certSet) bool {
	if len(s.pairs) != len(other.pairs) {
		return false
	}
	for path, cert := range s.pairs {
		if o := other.pairs[path]; o == nil || !slices.EqualFunc(cert.Certificate, o.Certificate, slices.Equal) {
			return false
		}
	}
	return true
}

func namesOf(leaf *x509.Certificate) []string {
	var names []string
	for _, n := range leaf.DNSNames {
		names = append(names, strings.ToLower(n))
	}
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	return names
}

// certDirs lists dir and the directories in it. Names with a dot in front are
// left out: Kubernetes keeps the versions of a mounted secret there.
func certDirs(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, errors.New(fileProblem(dir, err))
	}
	dirs := []string{dir}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if info, err := os.Stat(path); err == nil && info.IsDir() && !strings.HasPrefix(e.Name(), ".") {
			dirs = append(dirs, path)
		}
	}
	return dirs, nil
}

// certFiles lists the files of dir that hold a certificate.
func certFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, errors.New(fileProblem(dir, err))
	}
	var files []string
	for _, e := range entries {
		ext := filepath.Ext(e.Name())
		if (ext == ".crt" || ext == ".pem") && !strings.HasPrefix(e.Name(), ".") {
			files = append(files, filepath.Join(dir, e.Name()))
		}
	}
	return files, nil
}

// readPair reads a certificate, its chain and its key.
func readPair(certFile string) (*tls.Certificate, error) {
	keyFile := strings.TrimSuffix(certFile, filepath.Ext(certFile)) + ".key"
	if _, err := os.Stat(keyFile); errors.Is(err, fs.ErrNotExist) && filepath.Ext(certFile) == ".pem" {
		keyFile = certFile
	}
	for _, f := range []string{certFile, keyFile} {
		if _, err := readSmallFile(f); err != nil {
			return nil, errors.New(fileProblem(f, err))
		}
	}
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("%s with %s: %w", certFile, keyFile, err)
	}
	return &cert, nil
}
