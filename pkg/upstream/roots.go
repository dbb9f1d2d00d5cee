package upstream

import (
	"bytes"
	"crypto/x509"
	"sync"
)

// roots are the authorities that TLS trusts: those of the system, of Options.Authorities,
// which may change, and of one upstream. They are safe for concurrent use.
type roots struct {
	deployment func() []byte // in PEM; nil for none
	own        string        // of the upstream, in PEM

	mu   sync.Mutex
	read []byte // of deployment, that held has
	held *x509.CertPool
}

// pool is what the next connection trusts; nil: the system's. The caller must not change it.
func (r *roots) pool() *x509.CertPool {
	var text []byte
	if r.deployment != nil {
		text = r.deployment()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.held == nil || !bytes.Equal(text, r.read) {
		r.read, r.held = text, trusted(trusted(nil, text), []byte(r.own))
	}
	return r.held
}

// trusted are the certificates in PEM besides those of the pool; a nil pool is the
// system's.
func trusted(pool *x509.CertPool, more []byte) *x509.CertPool {
	if len(more) == 0 {
		return pool
	}
	if pool != nil {
		pool = pool.Clone()
	} else if system, err := x509.SystemCertPool(); err == nil {
		pool = system
	} else {
		pool = x509.NewCertPool()
	}
	pool.AppendCertsFromPEM(more)
	return pool
}
