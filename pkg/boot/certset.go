package boot

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/berth-registry/berth/pkg/tenant"
)

// certSet is one reading of the directory.
type certSet struct {
	pairs  map[string]*tls.Certificate   // by path of the certificate
	byName map[string][]*tls.Certificate // by DNS name or IP address; newest first
}

// readCerts reads every pair. An invalid one is replaced by that of the same path
// in old; the set is nil only if no pair is left. With an old set, it may return
// both a set and an error.
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

// certDirs lists dir and its subdirectories, except those with a leading dot:
// Kubernetes keeps the versions of a mounted secret there.
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
	if err := checkNamesNoMirror(cert.Leaf); err != nil {
		return nil, fmt.Errorf("%s: %w", certFile, err)
	}
	return &cert, nil
}

// checkNamesNoMirror refuses a certificate that names a mirror host, also a wildcard below one.
func checkNamesNoMirror(leaf *x509.Certificate) error {
	for _, name := range append(namesOf(leaf), leaf.Subject.CommonName) {
		if tenant.HasMirrorLabel(name) {
			return fmt.Errorf("the certificate names the mirror host %s; the name of a mirror host is a secret, and authorities publish those of certificates: delete that mirror host or rotate it, and use a wildcard certificate, which covers all of them",
				tenant.RedactMirrors(name))
		}
	}
	return nil
}
