package access

import (
	"net/http"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/berth-registry/berth/pkg/tenant"
)

const internalTestKey = "0123456789abcdef0123456789abcdef"

func internalTestCall() InternalCall {
	p := ServiceAccount(7, "ci", Writer)
	return InternalCall{
		Method: http.MethodPatch, Path: "/v2/app/blobs/uploads/x",
		Site:      tenant.Site{Host: "dev.acme.localhost", Tenant: 7, Registry: 9, Settings: tenant.Settings{AnonymousPull: true}},
		Principal: p, Realm: "http://dev.acme.localhost/token", Client: netip.MustParseAddr("192.0.2.1"),
		Claims: &Claims{Principal: p, Grants: []Grant{{Type: RepositoryType, Name: "app", Actions: Push, Asked: Pull | Push}}, ExpiresAt: time.Unix(2e9, 0).UTC()},
	}
}

func TestInternal_ACallArrivesAsItWasSent(t *testing.T) {
	want := internalTestCall()
	token, err := NewInternal(internalTestKey).Sign(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := NewInternal(internalTestKey).Verify(token, want.Method, want.Path)
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
	want.Claims.Grants = decide(site, writer, repositories(300, 40))
	i := NewInternal(internalTestKey)
	token, err := i.Sign(want)
	if err != nil || len(token) > 24<<10 {
		t.Fatalf("the token has %d bytes, %v", len(token), err)
	}
	got, err := i.Verify(token, want.Method, want.Path)
	if err != nil || got.Path != want.Path || len(got.Claims.Grants) != 300 {
		t.Errorf("got %d grants for %d bytes, %v", len(got.Claims.Grants), len(got.Path), err)
	}
	if _, err := i.Verify(token, want.Method, want.Path+"x"); err == nil {
		t.Error("it is good for another path")
	}
}

func TestF5_ForgedInternalTokensAreRefused(t *testing.T) {
	call := internalTestCall()
	sign := func(method jwt.SigningMethod, key any, edit func(*internalPayload)) string {
		p := internalPayload{Use: useInternal, Call: call, RegisteredClaims: jwt.RegisteredClaims{ExpiresAt: jwt.NewNumericDate(time.Now().Add(time.Minute))}}
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
	if _, err := i.Verify(good, call.Method, call.Path); err != nil {
		t.Fatal(err)
	}
	for name, token := range map[string]string{
		"none":        sign(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, asIs),
		"HS512":       sign(jwt.SigningMethodHS512, []byte(internalTestKey), asIs),
		"another key": sign(jwt.SigningMethodHS256, []byte("fedcba9876543210fedcba9876543210"), asIs),
		"expired": sign(jwt.SigningMethodHS256, []byte(internalTestKey), func(p *internalPayload) {
			p.ExpiresAt = jwt.NewNumericDate(time.Now().Add(-time.Minute))
		}),
		"without end":   sign(jwt.SigningMethodHS256, []byte(internalTestKey), func(p *internalPayload) { p.ExpiresAt = nil }),
		"another use":   sign(jwt.SigningMethodHS256, []byte(internalTestKey), func(p *internalPayload) { p.Use = useRegistry }),
		"no signature":  good[:strings.LastIndex(good, ".")+1],
		"empty":         "",
		"not a token":   strings.Repeat(".", 100000),
		"one byte more": good + "A",
	} {
		if c, err := i.Verify(token, call.Method, call.Path); err == nil || c.Site.Tenant != 0 {
			t.Errorf("%s: accepted as %+v", name, c)
		}
	}
	for _, other := range [][2]string{{http.MethodDelete, call.Path}, {call.Method, call.Path + "y"}} {
		if _, err := i.Verify(good, other[0], other[1]); err == nil {
			t.Errorf("the token is good for %s %s too", other[0], other[1])
		}
	}
}
