package access

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/tenant"
)

// memoryKeys is a KeyStore in memory that counts how often it is read.
type memoryKeys struct {
	mu    sync.Mutex
	keys  []SigningKey
	reads int
	down  bool
}

var errDown = errors.New("the store is down")

func (m *memoryKeys) PutSigningKey(_ context.Context, k SigningKey) (SigningKey, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, have := range m.keys {
		if have.ID == k.ID {
			return have, nil
		}
	}
	m.keys = append(m.keys, k)
	return k, nil
}

func (m *memoryKeys) ListSigningKeys(context.Context) ([]SigningKey, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reads++
	if m.down {
		return nil, errDown
	}
	return append([]SigningKey(nil), m.keys...), nil
}

const issuerName = "reg.example"

// realm is an issuer and a verifier with one clock.
type realm struct {
	store    *memoryKeys
	keys     *Keys
	clock    time.Time
	issuer   *Issuer
	verifier *Verifier
}

func newRealm(t testing.TB) *realm {
	t.Helper()
	r := &realm{store: &memoryKeys{}}
	keys, err := OpenKeys(t.Context(), r.store)
	if err != nil {
		t.Fatal(err)
	}
	r.clock = time.Now().Truncate(time.Second)
	keys.now = func() time.Time { return r.clock }
	r.keys, r.issuer, r.verifier = keys, NewIssuer(keys, issuerName), NewVerifier(keys, issuerName)
	return r
}

var (
	site   = tenant.Site{Host: "dev.acme.reg.example", Tenant: 7, TenantSlug: "acme", Epoch: 3, Registry: 11, RegistrySlug: "dev"}
	writer = Principal{Name: "serviceAccounts/ci", Tenant: 7, Role: Writer}
)

func (r *realm) issue(t testing.TB, s tenant.Site, p Principal, scopes ...Scope) string {
	t.Helper()
	token, err := r.issuer.Issue(s, p, scopes)
	if err != nil {
		t.Fatal(err)
	}
	return token.Raw
}
