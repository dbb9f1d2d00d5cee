package access

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/seal"
	"github.com/berth-registry/berth/pkg/tenant"
)

// memoryKeys is a store of keys in memory that counts how often it is read.
type memoryKeys struct {
	mu    sync.Mutex
	keys  []SigningKey
	lying []OpenSigningKey
	reads int
	down  bool
	due   time.Time
}

var errDown = errors.New("the store is down")

func (m *memoryKeys) read() error {
	m.reads++
	if m.down {
		return errDown
	}
	return nil
}

func (m *memoryKeys) find(id string) *SigningKey {
	for i := range m.keys {
		if m.keys[i].ID == id {
			return &m.keys[i]
		}
	}
	return nil
}

func (m *memoryKeys) PutSigningKey(_ context.Context, k SigningKey) (SigningKey, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if have := m.find(k.ID); have != nil {
		return *have, nil
	}
	m.keys = append(m.keys, k)
	return k, nil
}

func (m *memoryKeys) UpdateSigningKey(_ context.Context, k SigningKey) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if have := m.find(k.ID); have != nil {
		if len(k.Sealed) > 0 {
			have.Sealed = k.Sealed
		}
		if have.RetiredAt.IsZero() {
			have.RetiredAt = k.RetiredAt
		}
	}
	return nil
}

func (m *memoryKeys) DeleteSigningKey(_ context.Context, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.keys = slices.DeleteFunc(m.keys, func(k SigningKey) bool { return k.ID == id })
	return nil
}

func (m *memoryKeys) ListOpenSigningKeys(context.Context) ([]OpenSigningKey, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.lying), m.read()
}

func (m *memoryKeys) SigningKeysDue(context.Context) (time.Time, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.due, m.read()
}

func (m *memoryKeys) AdoptSigningKey(_ context.Context, k SigningKey) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lying = slices.DeleteFunc(m.lying, func(o OpenSigningKey) bool { return o.ID == k.ID })
	if have := m.find(k.ID); have != nil {
		*have = k
		return nil
	}
	m.keys = append(m.keys, k)
	return nil
}

func (m *memoryKeys) ListSigningKeys(context.Context) ([]SigningKey, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.keys), m.read()
}

func (m *memoryKeys) ListVerifyKeys(context.Context) ([]VerifyKey, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var public []VerifyKey
	for _, k := range m.keys {
		public = append(public, k.VerifyKey)
	}
	return public, m.read()
}

const issuerName = "reg.example"

// realm is an issuer and a verifier with one clock.
type realm struct {
	store    *memoryKeys
	signer   *Signer
	keys     *Keys
	clock    time.Time
	issuer   *Issuer
	verifier *Verifier
}

func newRealm(t testing.TB) *realm {
	t.Helper()
	r := &realm{store: &memoryKeys{}, clock: time.Now().Truncate(time.Second)}
	r.signer = r.newSigner(t, testSecret)
	r.keys = r.newKeys(t)
	r.issuer, r.verifier = NewIssuer(r.signer, r.keys, issuerName), NewVerifier(r.keys, issuerName)
	return r
}

const testSecret = "the secret key of the tests"

// newSigner is the signer of a process with the secret keys, the newest first.
func (r *realm) newSigner(t testing.TB, secrets ...string) *Signer {
	t.Helper()
	s := &Signer{store: r.store, sealer: keyring(t, secrets...), opts: SignerOptions{Life: 30 * day, Handover: time.Hour}, now: func() time.Time { return r.clock }}
	s.keys.Store(&[]*signer{})
	if err := s.tend(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// newKeys is what a process that verifies knows.
func (r *realm) newKeys(t testing.TB) *Keys {
	t.Helper()
	keys, err := OpenKeys(t.Context(), r.store)
	if err != nil {
		t.Fatal(err)
	}
	keys.now = func() time.Time { return r.clock }
	return keys
}

const day = 24 * time.Hour

func keyring(t testing.TB, secrets ...string) *seal.Keyring {
	t.Helper()
	var keys [][]byte
	for _, s := range secrets {
		keys = append(keys, []byte(s))
	}
	ring, err := seal.New(keys...)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

var (
	site   = tenant.Site{Host: "dev.acme.reg.example", Tenant: 7, TenantSlug: "acme", Epoch: 3, Registry: 11, RegistrySlug: "dev"}
	writer = Principal{Name: "serviceAccounts/ci", Tenant: 7, Role: Writer}
)

// rightsOf are the rights of a principal in a tenant without access rules.
func rightsOf(s tenant.Site, p Principal) *Rights {
	r := NoRules.Rights(&s, p, netip.Addr{})
	return &r
}

func (r *realm) issue(t testing.TB, s tenant.Site, p Principal, scopes ...Scope) string {
	t.Helper()
	token, err := r.issuer.Issue(rightsOf(s, p), scopes)
	if err != nil {
		t.Fatal(err)
	}
	return token.Raw
}
