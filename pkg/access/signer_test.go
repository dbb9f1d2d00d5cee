package access

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

func TestOpenSigner_StartingTogetherAgree(t *testing.T) {
	r := newRealm(t)
	r.store.keys = nil
	var all sync.WaitGroup
	var opened [8]*Signer
	for i := range opened {
		all.Go(func() { opened[i] = r.newSigner(t, testSecret) })
	}
	all.Wait()
	if len(r.store.keys) != 1 {
		t.Fatalf("%d keys were made", len(r.store.keys))
	}
	for _, s := range opened {
		got, err := s.signs()
		if err != nil || got.ID != r.store.keys[0].ID {
			t.Errorf("%v signs, %v", got, err)
		}
	}
}

// fleet is processes that issue and verify, each of which reads the keys at a
// time of its own.
type fleet struct {
	*realm
	t         *testing.T
	signers   []*Signer
	issuers   []*Issuer
	keys      []*Keys
	verifiers []*Verifier
	issued    []issued
	seen      map[string]bool // ids of keys that signed
}

type issued struct {
	raw string
	at  time.Time
}

func newFleet(t *testing.T, r *realm, secrets ...[]string) *fleet {
	f := &fleet{realm: r, t: t, seen: map[string]bool{}}
	for _, s := range secrets {
		f.join(s...)
	}
	return f
}

func (f *fleet) join(secrets ...string) {
	signer, keys := f.newSigner(f.t, secrets...), f.newKeys(f.t)
	f.signers, f.issuers = append(f.signers, signer), append(f.issuers, NewIssuer(signer, keys, issuerName))
	keys.refreshes.SetBurst(0) // what is to be shown holds without a look at the store
	f.keys, f.verifiers = append(f.keys, keys), append(f.verifiers, NewVerifier(keys, issuerName))
}

// live lets time pass. Each process reads the keys once a minute; all the while
// each issues tokens, and every one takes all those that have not expired.
func (f *fleet) live(d time.Duration) {
	f.t.Helper()
	const step = 20 * time.Second
	for end := f.clock.Add(d); f.clock.Before(end); f.clock = f.clock.Add(step) {
		second := int(f.clock.Unix())
		for i := range f.signers {
			if (second/20+i)%3 == 0 {
				if err := f.signers[i].tend(f.t.Context()); err != nil {
					f.t.Fatal(err)
				}
			}
			if (second/20+i)%3 == 1 {
				if err := f.keys[i].reload(f.t.Context()); err != nil {
					f.t.Fatal(err)
				}
			}
		}
		f.exchange()
	}
}

func (f *fleet) exchange() {
	f.t.Helper()
	for _, i := range f.issuers {
		token, err := i.Issue(rightsOf(site, writer), nil)
		if err != nil {
			f.t.Fatal(err)
		}
		f.issued = append(f.issued, issued{token.Raw, f.clock})
		signs, err := i.signer.signs()
		if err != nil {
			f.t.Fatal(err)
		}
		f.seen[signs.ID] = true
	}
	kept := f.issued[:0]
	for _, token := range f.issued {
		if f.clock.Sub(token.at) > TokenTTL {
			continue
		}
		kept = append(kept, token)
		for n, v := range f.verifiers {
			if _, err := v.Verify(token.raw, site); err != nil {
				f.t.Fatalf("process %d refuses a token of %v ago: %v", n, f.clock.Sub(token.at), err)
			}
		}
	}
	f.issued = kept
}

func TestS20_KeysRotateAndNoTokenIsRefused(t *testing.T) {
	r := newRealm(t)
	r.store.keys = nil
	f := newFleet(t, r, []string{testSecret}, []string{testSecret}, []string{testSecret})
	first := r.store.keys[0].ID
	f.live(10 * time.Minute)
	if len(r.store.keys) != 1 {
		t.Fatalf("%d keys after ten minutes", len(r.store.keys))
	}
	r.clock, f.issued = r.clock.Add(30*day-12*time.Minute), nil
	f.live(30 * time.Minute)
	if len(f.seen) != 2 || len(r.store.keys) != 1 || r.store.keys[0].ID == first {
		t.Errorf("signed: %v, kept: %v", f.seen, r.store.keys)
	}
	// A key that is gone verifies nothing, not even where the row is still known.
	stolen := r.clock
	old := *f.keys[0].current.Load().ordered[0]
	old.RetiredAt = stolen.Add(-TokenTTL - 2*leeway - time.Second)
	f.keys[0].current.Store(&keySet{byHeader: map[string]*verifier{old.header: &old}})
	if key, _ := f.keys[0].find(old.header); key != nil {
		t.Error("a key whose tokens have all expired verifies")
	}
}

// TestU55_KeysAreReplacedByCommand while no token is refused, once for each command, also by
// processes whose clock is behind that of the store.
func TestU55_KeysAreReplacedByCommand(t *testing.T) {
	for name, ahead := range map[string]time.Duration{"same clock": 0, "the store's is ahead": 25 * time.Second, "the store's is behind": -25 * time.Second} {
		t.Run(name, func(t *testing.T) {
			r := newRealm(t)
			r.store.keys = nil
			f := newFleet(t, r, []string{testSecret}, []string{testSecret}, []string{testSecret})
			f.live(2 * time.Minute)
			for n := range 2 {
				before := r.store.keys[0].ID
				r.store.due = r.clock.Add(ahead)
				f.live(20 * time.Minute)
				if len(f.seen) != n+2 || len(r.store.keys) != 1 || r.store.keys[0].ID == before {
					t.Errorf("signed: %v, kept: %v", f.seen, r.store.keys)
				}
			}
		})
	}
}

func TestS21_PrivatePartsAreSealedAndVerifiersHaveNone(t *testing.T) {
	r := newRealm(t)
	r.issue(t, site, writer)
	private := r.key().private
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range r.store.keys {
		for _, secret := range [][]byte{private, private.Seed(), der} {
			if bytes.Contains(k.Sealed, secret) || bytes.Contains(k.Public, secret) {
				t.Error("the private part is stored open")
			}
		}
		for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
			if text := fmt.Sprintf(verb, k); strings.Contains(text, fmt.Sprintf("%d", k.Sealed[9])+" ") || len(text) > 60 {
				t.Errorf("%s prints %s", verb, text)
			}
		}
		if _, err := keyring(t, testSecret).Open(k.Sealed, boundTo("another")); err == nil {
			t.Error("the seal opens in the place of another key")
		}
	}
	lying := OpenSigningKey{ID: "x", Private: der}
	if text := fmt.Sprintf("%v %+v %#v", lying, lying, lying); len(text) > 90 {
		t.Errorf("an open key is printed: %s", text)
	}
}

func TestS22_OpenKeysAreReplaced(t *testing.T) {
	r := newRealm(t)
	r.store.keys = nil
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	old := OpenSigningKey{ID: r.clock.UTC().Format("20060102"), Algorithm: EdDSA, Private: der, CreatedAt: r.clock.Add(-100 * day)}
	r.store.lying = []OpenSigningKey{old}
	before := &signer{VerifyKey: VerifyKey{ID: old.ID}, private: private} // a process of the version before
	inFlight, err := before.sign(r.payload())
	if err != nil {
		t.Fatal(err)
	}
	f := newFleet(t, r, []string{testSecret}, []string{testSecret})
	if len(r.store.lying) != 0 || len(r.store.keys) != 2 {
		t.Fatalf("open: %v, kept: %v", r.store.lying, r.store.keys)
	}
	for range 40 { // while processes of the version before know no other key
		f.live(time.Minute)
		if signs, err := f.signers[1].signs(); err != nil || signs.ID != old.ID {
			t.Fatalf("%v signs, %v", signs, err)
		}
		if f.clock.Sub(f.issued[0].at) < TokenTTL && f.clock.Before(jwtExpiry(t, inFlight)) {
			if _, err := f.verifiers[0].Verify(inFlight, site); err != nil {
				t.Fatalf("a token in flight: %v", err)
			}
		}
	}
	f.live(40 * time.Minute)
	if len(r.store.keys) != 1 || r.store.keys[0].ID == old.ID {
		t.Errorf("kept: %v", r.store.keys)
	}
	late, err := before.sign(r.payload())
	if err != nil {
		t.Fatal(err)
	}
	r.verifier = f.verifiers[0]
	r.wantRefused(t, "a token by the key that lay open", late, site)
}

func jwtExpiry(t *testing.T, raw string) time.Time {
	t.Helper()
	var p payload
	if _, _, err := jwt.NewParser().ParseUnverified(raw, &p); err != nil {
		t.Fatal(err)
	}
	return p.ExpiresAt.Time
}

const nextSecret = "the secret key after that"

func TestS23_AnExchangedSecretKeyReplacesTheKeys(t *testing.T) {
	r := newRealm(t)
	r.store.keys = nil
	f := newFleet(t, r, []string{testSecret}, []string{testSecret})
	first := r.store.keys[0].ID
	f.live(5 * time.Minute)
	f.join(nextSecret, testSecret) // the first process that has the new one
	for _, k := range r.store.keys {
		if keyring(t, nextSecret).Stale(k.Sealed) {
			t.Errorf("%v is not sealed with the new secret key", k)
		}
		if _, err := keyring(t, nextSecret).Open(k.Sealed, boundTo(k.ID)); err != nil {
			t.Errorf("%v is not sealed with the new secret key: %v", k, err)
		}
	}
	f.live(3 * time.Minute)
	f.signers, f.issuers, f.keys, f.verifiers = f.signers[2:], f.issuers[2:], f.keys[2:], f.verifiers[2:]
	f.join(nextSecret) // without the old one
	f.live(20 * time.Minute)
	if r.store.find(first) != nil || len(r.store.keys) != 1 {
		t.Errorf("kept: %v", r.store.keys)
	}
}

func TestS24_ALostSecretKeyMakesANewKey(t *testing.T) {
	r := newRealm(t)
	raw := r.issue(t, site, writer)
	old := r.key().ID
	var told [][]string
	lost := &Signer{
		store: r.store, sealer: keyring(t, nextSecret), now: func() time.Time { return r.clock },
		opts: SignerOptions{Life: 30 * day, Unreadable: func(ids []string) { told = append(told, ids) }},
	}
	lost.keys.Store(&[]*signer{})
	for range 3 {
		if err := lost.tend(t.Context()); err != nil { // in the same minute, with the same id
			t.Fatal(err)
		}
	}
	if len(told) != 1 || len(told[0]) != 1 || told[0][0] != old {
		t.Errorf("told of %v", told)
	}
	if len(r.store.keys) != 2 {
		t.Fatalf("kept: %v", r.store.keys)
	}
	if _, err := r.verifier.Verify(raw, site); err != nil {
		t.Errorf("a token in flight: %v", err)
	}
	// The new key is not known to the verifier, which looks.
	token, err := NewIssuer(lost, r.keys, issuerName).Issue(rightsOf(site, writer), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.verifier.Verify(token.Raw, site); err != nil {
		t.Errorf("a token by a new key: %v", err)
	}
	// What nothing opens goes when its life, and a day, are over.
	r.clock = r.clock.Add(31*day + time.Minute)
	for range 2 {
		if err := lost.tend(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.clock = r.clock.Add(7 * time.Minute)
	}
	if r.store.find(old) != nil {
		t.Errorf("kept: %v", r.store.keys)
	}

	if _, err := OpenSigner(t.Context(), &memoryKeys{}, keyring(t), SignerOptions{Life: day}); err == nil || !strings.Contains(err.Error(), "sealed") {
		t.Errorf("without a secret key: %v", err)
	}
}

func TestS25_TheTimesOfATokenAreBounded(t *testing.T) {
	r := newRealm(t)
	for name, c := range map[string]struct {
		change func(p *payload)
		good   bool
	}{
		"as issued":       {func(*payload) {}, true},
		"good for longer": {func(p *payload) { p.ExpiresAt = jwt.NewNumericDate(r.clock.Add(TokenTTL + time.Second)) }, false},
		"good for a year": {func(p *payload) { p.ExpiresAt = jwt.NewNumericDate(r.clock.Add(365 * day)) }, false},
		"issued before, good for long": {func(p *payload) {
			p.IssuedAt = jwt.NewNumericDate(r.clock.Add(-time.Minute))
		}, false},
		"without issue":          {func(p *payload) { p.IssuedAt = nil }, false},
		"issued in the future":   {func(p *payload) { p.IssuedAt = jwt.NewNumericDate(r.clock.Add(leeway + time.Second)) }, false},
		"by a clock a bit ahead": {func(p *payload) { p.IssuedAt = jwt.NewNumericDate(r.clock.Add(leeway - time.Second)) }, true},
		"ends before it was issued": {func(p *payload) {
			p.IssuedAt, p.ExpiresAt = jwt.NewNumericDate(r.clock), jwt.NewNumericDate(r.clock.Add(-time.Minute))
		}, false},
	} {
		p := r.payload()
		c.change(p)
		if _, err := r.verifier.Verify(r.sign(t, p), site); (err == nil) != c.good {
			t.Errorf("%s: %v", name, err)
		}
	}
}
