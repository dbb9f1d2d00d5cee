package access

import (
	"crypto/rand"
	"net/http"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/berth-registry/berth/pkg/tenant"
)

const internalTestKey = "0123456789abcdef0123456789abcdef"

func internalTestCall() InternalCall {
	p := ServiceAccount(7, 3, "ci", Writer)
	return InternalCall{
		InternalRequest: InternalRequest{Method: http.MethodPatch, Path: "/v2/app/blobs/uploads/x", Host: "dev.acme.localhost", Headers: "digest", Length: 7},
		Site:            tenant.Site{Host: "dev.acme.localhost", Tenant: 7, Registry: 9, Settings: tenant.Settings{AnonymousPull: true}},
		Principal:       p, Realm: "http://dev.acme.localhost/token", Client: netip.MustParseAddr("192.0.2.1"),
		Claims: &Claims{Principal: p, Grants: []Grant{{Type: RepositoryType, Name: "app", Actions: Push, Requested: Pull | Push}}, ExpiresAt: time.Unix(2e9, 0).UTC()},
	}
}

func TestInternal_ACallArrivesAsItWasSent(t *testing.T) {
	want := internalTestCall()
	token, err := NewInternal(internalTestKey).Sign(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := NewInternal(internalTestKey).Verify(token, want.InternalRequest)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}
	if len(token) > MaxToken {
		t.Errorf("the token has %d bytes", len(token))
	}
}

func TestQ15_ACallWithManyScopesFitsInAHeader(t *testing.T) {
	want := internalTestCall()
	want.Path = "/token?service=x&scope=" + strings.Repeat("repository%3Aapp%3Apull+", 2700)
	want.Claims.Grants = decide(rightsOf(site, writer), repositories(300, 40))
	i := NewInternal(internalTestKey)
	token, err := i.Sign(want)
	if err != nil || len(token) > 24<<10 {
		t.Fatalf("the token has %d bytes, %v", len(token), err)
	}
	got, err := i.Verify(token, want.InternalRequest)
	if err != nil || got.Path != want.Path || len(got.Claims.Grants) != 300 {
		t.Errorf("got %d grants for %d bytes, %v", len(got.Claims.Grants), len(got.Path), err)
	}
	want.Path += "x"
	if token, err = i.Sign(internalTestCall()); err != nil {
		t.Fatal(err)
	}
	if _, err := i.Verify(token, want.InternalRequest); err == nil {
		t.Error("it is good for another path")
	}
}

func TestF5_ForgedInternalTokensAreRefused(t *testing.T) {
	call := internalTestCall()
	sign := func(method jwt.SigningMethod, key any, edit func(*internalPayload)) string {
		p := internalPayload{Use: useInternal, Call: call, RegisteredClaims: jwt.RegisteredClaims{ID: rand.Text(), IssuedAt: jwt.NewNumericDate(time.Now()), ExpiresAt: jwt.NewNumericDate(time.Now().Add(time.Minute))}}
		edit(&p)
		token, err := jwt.NewWithClaims(method, p).SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	asIs := func(*internalPayload) {}
	good := sign(jwt.SigningMethodHS256, []byte(internalTestKey), asIs)
	i := NewInternal(internalTestKey)
	for name, token := range map[string]string{
		"none":        sign(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, asIs),
		"HS512":       sign(jwt.SigningMethodHS512, []byte(internalTestKey), asIs),
		"another key": sign(jwt.SigningMethodHS256, []byte("fedcba9876543210fedcba9876543210"), asIs),
		"expired": sign(jwt.SigningMethodHS256, []byte(internalTestKey), func(p *internalPayload) {
			p.IssuedAt, p.ExpiresAt = jwt.NewNumericDate(time.Now().Add(-2*time.Minute)), jwt.NewNumericDate(time.Now().Add(-time.Minute))
		}),
		"of the future": sign(jwt.SigningMethodHS256, []byte(internalTestKey), func(p *internalPayload) {
			p.IssuedAt, p.ExpiresAt = jwt.NewNumericDate(time.Now().Add(time.Minute)), jwt.NewNumericDate(time.Now().Add(2*time.Minute))
		}),
		"good for an hour": sign(jwt.SigningMethodHS256, []byte(internalTestKey), func(p *internalPayload) {
			p.ExpiresAt = jwt.NewNumericDate(time.Now().Add(time.Hour))
		}),
		"without beginning": sign(jwt.SigningMethodHS256, []byte(internalTestKey), func(p *internalPayload) { p.IssuedAt = nil }),
		"without end":       sign(jwt.SigningMethodHS256, []byte(internalTestKey), func(p *internalPayload) { p.ExpiresAt = nil }),
		"another use":       sign(jwt.SigningMethodHS256, []byte(internalTestKey), func(p *internalPayload) { p.Use = useRegistry }),
		"no signature":      good[:strings.LastIndex(good, ".")+1],
		"empty":             "",
		"not a token":       strings.Repeat(".", 100000),
		"one byte more":     good + "A",
	} {
		if c, err := i.Verify(token, call.InternalRequest); err == nil || c.Site.Tenant != 0 {
			t.Errorf("%s: accepted as %+v", name, c)
		}
	}
	for name, edit := range map[string]func(*InternalRequest){
		"method":  func(r *InternalRequest) { r.Method = http.MethodDelete },
		"path":    func(r *InternalRequest) { r.Path += "y" },
		"host":    func(r *InternalRequest) { r.Host = "prod.acme.localhost" },
		"headers": func(r *InternalRequest) { r.Headers = "" },
		"length":  func(r *InternalRequest) { r.Length++ },
	} {
		seen := call.InternalRequest
		edit(&seen)
		if _, err := i.Verify(good, seen); err == nil {
			t.Errorf("the token is good for another %s", name)
		}
	}
	if _, err := i.Verify(good, call.InternalRequest); err != nil {
		t.Fatal(err)
	}
}

// TestS95_ACallIsTakenOnce, however its signature is written, and also one of the
// version before, which has no nonce.
func TestS95_ACallIsTakenOnce(t *testing.T) {
	i, call := NewInternal(internalTestKey), internalTestCall()
	now := jwt.NewNumericDate(time.Now())
	before, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"use": useInternal, "iat": now, "exp": jwt.NewNumericDate(now.Add(internalTTL)),
		"call": map[string]any{"Method": call.Method, "Path": call.Path, "Service": "upload"},
	}).SignedString([]byte(internalTestKey))
	if err != nil {
		t.Fatal(err)
	}
	token, err := i.Sign(call)
	if err != nil {
		t.Fatal(err)
	}
	again, err := i.Sign(call)
	if err != nil {
		t.Fatal(err)
	}
	if token == again {
		t.Error("two calls have the same token")
	}
	for name, token := range map[string]string{"signed": token, "signed again": again, "of the version before": before} {
		if _, err := i.Verify(token, call.InternalRequest); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		// The last character of the signature has bits that mean nothing.
		for last := range 64 {
			other := token[:len(token)-1] + string("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[last])
			if _, err := i.Verify(other, call.InternalRequest); err == nil {
				t.Errorf("%s: taken again as …%s", name, other[len(other)-4:])
			}
		}
	}
	if _, err := NewInternal(internalTestKey).Verify(token, call.InternalRequest); err != nil {
		t.Errorf("another process: %v", err)
	}
}

// TestS95_CallsAreRememberedInBoundedMemory while more come than there is room for:
// none is taken twice, and new ones are taken.
func TestS95_CallsAreRememberedInBoundedMemory(t *testing.T) {
	const room = 100
	n := newNonces(room)
	start := time.Now()
	type taken struct {
		said string
		at   time.Time
	}
	var all []taken
	for k := range 20 * room {
		c := taken{strconv.Itoa(k), start.Add(time.Duration(k) * 100 * time.Millisecond)}
		if err := n.take(c.said, c.at, c.at); err != nil {
			t.Fatalf("call %d: %v", k, err)
		}
		all = append(all, c)
		if held := len(n.now.calls) + len(n.before.calls); held > room {
			t.Fatalf("%d calls are remembered, and there is room for %d", held, room)
		}
		for _, old := range all {
			if c.at.Sub(old.at) > nonceLife {
				continue // its token has expired
			}
			if err := n.take(old.said, old.at, c.at); err == nil {
				t.Fatalf("call %s is taken again with call %d", old.said, k)
			}
		}
	}
	later := all[len(all)-1].at.Add(2 * nonceLife)
	for k := range 3 {
		if err := n.take("later", later, later); (err == nil) != (k == 0) {
			t.Errorf("after a pause: %v", err)
		}
	}
}
