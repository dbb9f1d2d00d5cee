package workload_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/upstream"
	"github.com/berth-registry/berth/pkg/workload"
	"github.com/berth-registry/berth/tools/testserver"
)

func (w *world) github() string {
	return w.token(testserver.GitHub(host, "acme/web", "main"))
}

// TestV44_KeysOfIssuersAreFollowed when they change, and remembered meanwhile.
func TestV44_KeysOfIssuersAreFollowed(t *testing.T) {
	w := newWorld(t, loopback)
	w.trusts("acme", meta.Trust{Condition: fromMain})
	for range 20 {
		w.wantIn(w.github())
	}
	if n := w.issuer.Asked(); n != 2 { // for both documents
		t.Errorf("the issuer was asked %d times for one set of keys", n)
	}
	former := w.github()
	w.advance(workload.RetryAfter)
	w.issuer.Rotate(t)
	w.wantIn(w.github()) // its key is not known yet
	w.wantRefused("a key that the issuer gave up", former)
	w.advance(workload.RetryAfter)
	asked := w.issuer.Asked()
	w.wantIn(w.github())
	if w.issuer.Asked() != asked {
		t.Error("known keys are read again at once")
	}
	w.advance(workload.KeysFresh)
	w.wantIn(w.github())
	if n := w.issuer.Asked() - asked; n != 2 {
		t.Errorf("the keys are as old as they may be, and the issuer was asked %d times", n)
	}
}

// TestV44_HostileTokensAskAnIssuerSeldom, however many name keys that it does not have.
func TestV44_HostileTokensAskAnIssuerSeldom(t *testing.T) {
	w := newWorld(t, loopback)
	w.trusts("acme", meta.Trust{Condition: fromMain})
	forged := func(kid string) string {
		key := w.issuer.Key()
		key.KeyID = kid
		return w.issuer.TokenBy(t, key, testserver.GitHub(host, "acme/web", "main"))
	}
	w.wantIn(w.github())
	var all sync.WaitGroup
	for i := range 100 {
		secret := forged(fmt.Sprint("unknown", i))
		all.Go(func() { w.wantRefused("an unknown key", secret) })
	}
	all.Wait()
	if n := w.issuer.Asked(); n != 2 {
		t.Errorf("asked %d times", n)
	}
	w.advance(workload.RetryAfter)
	for i := range 100 {
		secret := forged(fmt.Sprint("unknown again", i))
		all.Go(func() { w.wantRefused("an unknown key", secret) })
	}
	all.Wait()
	if n := w.issuer.Asked(); n != 4 {
		t.Errorf("asked %d times, once more is allowed", n)
	}
	w.wantIn(w.github())
}

// TestV45_DocumentsOfIssuersAreBounded, and are of that issuer.
func TestV45_DocumentsOfIssuersAreBounded(t *testing.T) {
	const discovery, jwks = "/.well-known/openid-configuration", "/jwks"
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("another host was asked") }))
	defer elsewhere.Close()
	first := func(w *world) string {
		return fmt.Sprintf(`{"issuer": %q, "jwks_uri": %q}`, w.issuer.URL, w.issuer.URL+jwks)
	}
	for what, answer := range map[string]func(w *world, path string) (int, string){
		"a JWKS of 10 MB": func(w *world, path string) (int, string) {
			if path == discovery {
				return 200, first(w)
			}
			return 200, `{"keys": [], "pad": "` + strings.Repeat("x", 10<<20) + `"}`
		},
		"a discovery document of 10 MB": func(*world, string) (int, string) { return 200, strings.Repeat(" ", 10<<20) },
		"another issuer's document": func(w *world, _ string) (int, string) {
			return 200, fmt.Sprintf(`{"issuer": "https://issuer.example", "jwks_uri": %q}`, w.issuer.URL+jwks)
		},
		"keys at an inner address": func(w *world, _ string) (int, string) {
			return 200, fmt.Sprintf(`{"issuer": %q, "jwks_uri": "https://127.0.0.2:1/jwks"}`, w.issuer.URL)
		},
		"keys by plain HTTP": func(w *world, _ string) (int, string) {
			return 200, fmt.Sprintf(`{"issuer": %q, "jwks_uri": %q}`, w.issuer.URL, elsewhere.URL)
		},
		"no keys":                    func(w *world, _ string) (int, string) { return 200, first(w) },
		"a page":                     func(*world, string) (int, string) { return 200, "<html>" },
		"an error":                   func(*world, string) (int, string) { return 500, "" },
		"nothing there":              func(*world, string) (int, string) { return 404, "" },
		"a redirect elsewhere":       func(*world, string) (int, string) { return 302, elsewhere.URL },
		"a redirect in circles":      func(w *world, _ string) (int, string) { return 302, w.issuer.URL + discovery },
		"a redirect to another port": func(*world, string) (int, string) { return 302, "https://127.0.0.1:1/" },
	} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t, loopback)
			w.trusts("acme", meta.Trust{Condition: fromMain})
			w.issuer.Answer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				status, body := answer(w, r.URL.Path)
				if status == http.StatusFound {
					rw.Header().Set("Location", body)
					body = ""
				}
				rw.WriteHeader(status)
				_, _ = rw.Write([]byte(body))
			}))
			w.wantDown(what, w.github())
			asked := w.issuer.Asked()
			w.wantDown(what+", again", w.github())
			if n := w.issuer.Asked(); n != asked {
				t.Errorf("it was asked %d times at once, and before %d", n-asked, asked)
			}
			w.issuer.Answer(nil)
			w.advance(workload.RetryAfter)
			w.wantIn(w.github())
		})
	}
}

// TestV45_WeakAndForeignKeysDoNotCount: the others of a set do.
func TestV45_WeakAndForeignKeysDoNotCount(t *testing.T) {
	w := newWorld(t, loopback)
	w.trusts("acme", meta.Trust{Condition: fromMain})
	key := w.issuer.Key()
	public, err := key.Public().MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	set := func(keys ...string) {
		w.issuer.Answer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/jwks") {
				fmt.Fprintf(rw, `{"keys": [%s]}`, strings.Join(keys, ","))
				return
			}
			fmt.Fprintf(rw, `{"issuer": %q, "jwks_uri": %q}`, w.issuer.URL, w.issuer.URL+"/jwks")
		}))
		w.advance(workload.KeysFresh)
	}
	secret := jose.JSONWebKey{Key: []byte(strings.Repeat("a secret that is published", 4)), KeyID: "shared", Algorithm: "HS256"}
	shared, err := secret.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	weak := `{"kty": "RSA", "kid": "first", "n": "` + strings.Repeat("q", 171) + `", "e": "AQAB"}`
	set(`{"kty": "of tomorrow", "kid": "x"}`, string(shared), `{"kty": "EC"}`, "7", string(public))
	w.wantIn(w.github())
	set(string(shared), string(public))
	w.wantRefused("a shared secret", w.issuer.TokenBy(t, secret, testserver.GitHub(host, "acme/web", "main")))
	set(strings.Replace(string(public), `"sig"`, `"enc"`, 1), string(shared), weak)
	w.wantIn(w.github()) // by the keys of before: a set without any for signatures is a failure
	set(weak)
	w.advance(workload.KeysLife)
	w.wantDown("a weak key", w.github())
}

// TestV45_IssuersInsideAreNotAsked, unless the operator allows it to the tenant.
func TestV45_IssuersInsideAreNotAsked(t *testing.T) {
	ofOther := upstream.Network{Tenant: "other", Prefix: netip.MustParsePrefix("127.0.0.0/8")}
	for what, allow := range map[string][]upstream.Network{"to no tenant": nil, "to another tenant": {ofOther}} {
		w := newWorld(t, allow)
		w.trusts("acme", meta.Trust{Condition: fromMain})
		w.wantDown(what, w.github())
		if n := w.issuer.Asked(); n != 0 {
			t.Errorf("allowed %s: asked %d times", what, n)
		}
	}
}

// TestV46_KeysOutliveAnOutageOfTheIssuer for some time. After it, the answer is not that the
// token is wrong.
func TestV46_KeysOutliveAnOutageOfTheIssuer(t *testing.T) {
	w := newWorld(t, loopback)
	w.trusts("acme", meta.Trust{Condition: fromMain})
	w.wantIn(w.github())
	w.issuer.Answer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	for past := time.Duration(0); past < workload.KeysLife-time.Minute; past += time.Minute {
		w.advance(time.Minute)
		w.wantIn(w.github())
	}
	unknown := w.issuer.Key()
	unknown.KeyID = "new"
	w.wantDown("a key that may be new", w.issuer.TokenBy(t, unknown, testserver.GitHub(host, "acme/web", "main")))
	w.wantRefused("what is no token of the issuer", "wrong")
	w.advance(time.Minute)
	w.wantDown("after two hours", w.github())
	w.issuer.Answer(nil)
	w.advance(workload.RetryAfter)
	w.wantIn(w.github())
}
