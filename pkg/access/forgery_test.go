package access

import (
	"bytes"
	"compress/flate"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// payload is one that verifies at site when it is signed.
func (r *realm) payload() *payload {
	return &payload{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: issuerName, Subject: writer.Name, Audience: jwt.ClaimStrings{site.Host},
			IssuedAt: jwt.NewNumericDate(r.clock), NotBefore: jwt.NewNumericDate(r.clock), ExpiresAt: jwt.NewNumericDate(r.clock.Add(TokenTTL)),
		},
		Use: useRegistry, Tenant: site.Tenant, Epoch: site.Epoch, Role: Admin,
		Access: []Grant{{RepositoryType, "a", All, All}},
	}
}

// usedKey is the key that signs, with what the verifier knows of it.
type usedKey struct {
	*signer
	header string
	public ed25519.PublicKey
}

func (r *realm) key() usedKey {
	signs, err := r.signer.signs()
	if err != nil {
		panic(err)
	}
	opened, err := openVerifier(signs.VerifyKey)
	if err != nil {
		panic(err)
	}
	return usedKey{signs, opened.header, opened.public}
}

func (r *realm) sign(t testing.TB, p *payload) string {
	t.Helper()
	raw, err := r.key().sign(p)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func segment(v any) string {
	if s, ok := v.(string); ok {
		return base64.RawURLEncoding.EncodeToString([]byte(s))
	}
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// forge signs a valid payload under any header with any signer.
func (r *realm) forge(header any, sign func(signed string) []byte) string {
	signed := segment(header) + "." + segment(r.payload())
	return signed + "." + base64.RawURLEncoding.EncodeToString(sign(signed))
}

type object = map[string]any

func (r *realm) header(more object) object {
	h := object{"alg": "EdDSA", "kid": r.key().ID, "typ": "JWT"}
	for k, v := range more {
		h[k] = v
	}
	return h
}

func TestB1_KeysOfTheTokenAreNotUsed(t *testing.T) {
	r := newRealm(t)
	var asked atomic.Int64
	sink := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	t.Cleanup(sink.Close)
	sink.Config.ConnState = func(net.Conn, http.ConnState) { asked.Add(1) }

	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	attacker := func(signed string) []byte { return ed25519.Sign(private, []byte(signed)) }
	ours := func(signed string) []byte { return ed25519.Sign(r.key().private, []byte(signed)) }
	jwk := object{"kty": "OKP", "crv": "Ed25519", "x": base64.RawURLEncoding.EncodeToString(public)}
	for name, raw := range map[string]string{
		"jwk":              r.forge(r.header(object{"jwk": jwk}), attacker),
		"jwk without kid":  r.forge(object{"alg": "EdDSA", "typ": "JWT", "jwk": jwk}, attacker),
		"jku":              r.forge(r.header(object{"jku": sink.URL + "/jwks"}), attacker),
		"x5u":              r.forge(r.header(object{"x5u": sink.URL + "/x5u"}), attacker),
		"x5c":              r.forge(r.header(object{"x5c": []string{base64.StdEncoding.EncodeToString(public)}}), attacker),
		"crit":             r.forge(r.header(object{"crit": []string{"exp"}}), ours),
		"b64":              r.forge(r.header(object{"b64": false}), ours),
		"b64 with crit":    r.forge(r.header(object{"b64": false, "crit": []string{"b64"}}), ours),
		"our kid only":     r.forge(r.header(nil), attacker),
		"jwk, ours signed": r.forge(r.header(object{"jwk": jwk}), ours),
	} {
		r.wantRefused(t, name, raw, site)
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("%d connections to the attacker's server", n)
	}
	if _, err := r.verifier.Verify(r.forge(r.header(nil), ours), site); err != nil {
		t.Errorf("the same token with nothing forged: %v", err)
	}
}

func TestB2_OneAlgorithmPerKey(t *testing.T) {
	r := newRealm(t)
	public := r.key().public
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	keyText := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	mac := func(secret []byte) func(string) []byte {
		return func(signed string) []byte {
			h := hmac.New(sha256.New, secret)
			h.Write([]byte(signed))
			return h.Sum(nil)
		}
	}
	nothing := func(string) []byte { return nil }
	zeros := func(n int) func(string) []byte { return func(string) []byte { return make([]byte, n) } }
	ours := func(signed string) []byte { return ed25519.Sign(r.key().private, []byte(signed)) }
	for _, alg := range []string{"none", "None", "NONE", "nOnE", "", " ", "eddsa", "EDDSA", "EdDSA ", "Ed25519", "ES256", "RS256", "HS256", "PS256", "none\x00"} {
		h := r.header(object{"alg": alg})
		r.wantRefused(t, alg+" without signature", r.forge(h, nothing), site)
		r.wantRefused(t, alg+" signed by ours", r.forge(h, ours), site)
	}
	for _, alg := range []string{"HS256", "EdDSA"} {
		for name, secret := range map[string][]byte{"raw": public, "der": der, "pem": keyText, "empty": {}, "kid": []byte(r.key().ID)} {
			r.wantRefused(t, alg+" with the public key as secret, "+name, r.forge(r.header(object{"alg": alg}), mac(secret)), site)
		}
	}
	for n, alg := range map[int]string{0: "EdDSA", 1: "EdDSA", 63: "EdDSA", 64: "EdDSA", 65: "EdDSA", 128: "EdDSA", 256: "RS256"} {
		r.wantRefused(t, fmt.Sprintf("%s with %d zeros", alg, n), r.forge(r.header(object{"alg": alg}), zeros(n)), site)
	}
	r.wantRefused(t, "ES256 with zero r and s", r.forge(r.header(object{"alg": "ES256"}), zeros(64)), site)
	r.wantRefused(t, "no alg", r.forge(object{"kid": r.key().ID, "typ": "JWT"}, ours), site)
	r.wantRefused(t, "alg twice", r.forge(`{"alg":"EdDSA","alg":"none","kid":"`+r.key().ID+`","typ":"JWT"}`, nothing), site)
	r.wantRefused(t, "alg as list", r.forge(r.header(object{"alg": []string{"EdDSA"}}), ours), site)
}

func TestB2_KeysOfOtherKinds(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	good, _, err := newKey(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(k *VerifyKey){
		"EC key":            func(k *VerifyKey) { k.Public = pkix(t, &ec.PublicKey) },
		"RSA key":           func(k *VerifyKey) { k.Public = pkix(t, &rs.PublicKey) },
		"no key":            func(k *VerifyKey) { k.Public = nil },
		"another algorithm": func(k *VerifyKey) { k.Algorithm = "HS256" },
		"none":              func(k *VerifyKey) { k.Algorithm = "none" },
		"no algorithm":      func(k *VerifyKey) { k.Algorithm = "" },
		"no id":             func(k *VerifyKey) { k.ID = "" },
		"path as id":        func(k *VerifyKey) { k.ID = "../../dev/null" },
		"long id":           func(k *VerifyKey) { k.ID = strings.Repeat("a", 65) },
	} {
		k := good
		change(&k)
		if _, err := OpenKeys(t.Context(), &memoryKeys{keys: []SigningKey{{VerifyKey: k}}}); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

func pkix(t *testing.T, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestB3_UnknownKids(t *testing.T) {
	r := newRealm(t)
	ours := func(signed string) []byte { return ed25519.Sign(r.key().private, []byte(signed)) }
	kids := []any{
		"", " ", ".", "..", "/", "../../dev/null", "/dev/null", "/etc/passwd", "file:///dev/null", "..\\..\\nul", "%2e%2e%2fdev%2fnull",
		"' OR '1'='1", "x' UNION SELECT private FROM signing_keys --", "'; DROP TABLE signing_keys; --", "${jndi:ldap://x}", "{{7*7}}", "`id`", "$(id)",
		"20260101", "19700101", r.key().ID + " ", " " + r.key().ID, r.key().ID + "\x00", r.key().ID + "/", r.key().ID + "\n", strings.Repeat("a", 64),
		strings.Repeat("a", 65), strings.Repeat("a", 4096), strings.Repeat("a", 1<<20), "ключ", "\u202e", "\ufeff" + r.key().ID, "\xff\xfe",
		nil, true, 0, 20260101, 1e300,
		[]string{r.key().ID},
		object{"kid": r.key().ID},
		[]any{},
	}
	reads := r.store.reads
	for _, kid := range kids {
		r.wantRefused(t, fmt.Sprintf("kid %.40q", kid), r.forge(r.header(object{"kid": kid}), ours), site)
	}
	r.wantRefused(t, "no kid", r.forge(object{"alg": "EdDSA", "typ": "JWT"}, ours), site)
	if r.store.reads > reads+keysRefreshBurst+1 { // one more each second
		t.Errorf("the store was read %d times for unknown kids", r.store.reads-reads)
	}
}

// hostile are tokens that are dear to read for a verifier that reads first and
// checks later.
func (r *realm) hostile() map[string]string {
	var zipped bytes.Buffer
	w, _ := flate.NewWriter(&zipped, flate.BestCompression)
	_, _ = w.Write(make([]byte, 1<<20))
	_ = w.Close()
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	jwe := segment(object{"alg": "dir", "enc": "A256GCM", "zip": "DEF"}) + ".." + segment("iv") + "." + segment(zipped.String()) + "." + segment("tag")
	return map[string]string{
		"100,000 dots":                strings.Repeat(".", 100_000),
		"8,192 dots":                  strings.Repeat(".", MaxToken),
		"dots behind our header":      r.key().header + strings.Repeat(".", 8000),
		"1 MiB":                       strings.Repeat("a", 1<<20),
		"deep header":                 segment(deep(3000)) + "." + segment(r.payload()) + "." + strings.Repeat("A", 86),
		"deep payload":                r.key().header + "." + segment(deep(2900)) + "." + strings.Repeat("A", 86),
		"deep payload, nested object": r.key().header + "." + segment(strings.Repeat(`{"a":`, 1000)+"1"+strings.Repeat("}", 1000)) + "." + strings.Repeat("A", 86),
		"compressed JWE":              jwe,
		"PBES2 JWE":                   segment(object{"alg": "PBES2-HS512+A256KW", "p2c": 1 << 30, "enc": "A256GCM"}) + "." + segment("k") + ".." + segment("c") + ".t",
		"huge numbers":                segment(`{"alg":"EdDSA","kid":1e`+strings.Repeat("9", 5000)+`}`) + ".e30.AA",
		"huge signature":              r.key().header + ".e30." + strings.Repeat("A", 7000),
		"nothing":                     "",
		"two segments":                r.key().header + ".e30",
		"not base64":                  r.key().header + ".{}." + strings.Repeat("*", 86),
	}
}

// A process that waits for a core says nothing about the cost of a token, so the
// fastest of the rounds counts.
func TestB6_HostileTokensAreCheap(t *testing.T) {
	r := newRealm(t)
	for name, raw := range r.hostile() {
		r.wantRefused(t, name, raw, site)
		const rounds = 50
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		fastest := time.Hour
		for range rounds {
			start := time.Now()
			_, _ = r.verifier.Verify(raw, site)
			fastest = min(fastest, time.Since(start))
		}
		runtime.ReadMemStats(&after)
		if heap := (after.TotalAlloc - before.TotalAlloc) / rounds; heap >= 64<<10 {
			t.Errorf("%s: %d bytes of heap", name, heap)
		}
		if fastest >= time.Millisecond {
			t.Errorf("%s: %v", name, fastest)
		}
	}
}

func BenchmarkVerifyHostile(b *testing.B) {
	r := newRealm(b)
	for name, raw := range r.hostile() {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = r.verifier.Verify(raw, site)
			}
		})
	}
}

func FuzzVerify(f *testing.F) {
	r := newRealm(f)
	good := r.issue(f, site, writer, Repository("a", Pull))
	f.Add(good)
	f.Add(good + ".")
	f.Add(strings.ToUpper(good))
	for _, raw := range r.hostile() {
		if len(raw) <= MaxToken {
			f.Add(raw)
		}
	}
	f.Fuzz(func(t *testing.T, raw string) {
		if _, err := r.verifier.Verify(raw, site); err == nil && raw != good {
			t.Fatalf("%q was taken", raw)
		}
	})
}
