package access

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/tenant"
)

// wantRefused says that the token is refused as every bad token is.
func (r *realm) wantRefused(t *testing.T, what, raw string, s tenant.Site) {
	t.Helper()
	claims, err := r.verifier.Verify(raw, s)
	e := fault.From(err)
	if err == nil || e.Kind != fault.Unauthenticated || e.Reason != fault.UnauthorizedReason || e.Message != "the token is not valid here; request a new one" {
		t.Errorf("%s: %+v, %v", what, claims, err)
	}
}

func TestVerify(t *testing.T) {
	r := newRealm(t)
	s := site
	s.Settings.AnonymousPull = true
	raw := r.issue(t, s, writer, Repository("a/b", All), Repository("c", Pull), Scope{RegistryType, CatalogName, All})
	for range 2 { // the second time from memory
		claims, err := r.verifier.Verify(raw, s)
		if err != nil {
			t.Fatal(err)
		}
		if claims.Principal != writer || !claims.ExpiresAt.Equal(r.clock.Add(TokenTTL)) {
			t.Errorf("claims %+v", claims)
		}
		want := Grants{{RepositoryType, "a/b", Pull | Push, All}, {RepositoryType, "c", Pull, Pull}, {RegistryType, CatalogName, Pull, All}}
		if !reflect.DeepEqual(claims.Grants, want) {
			t.Errorf("grants %+v, want %+v", claims.Grants, want)
		}
		for _, c := range []struct {
			resource       Scope
			asked, allowed Actions
		}{
			{Repository("a/b", Push), All, Pull | Push}, {Repository("c", Push), Pull, Pull}, {Repository("d", Pull), 0, 0}, {Catalog, All, Pull},
		} {
			if claims.Requested(c.resource) != c.asked || claims.Allowed(rightsOf(s, writer), c.resource) != c.allowed {
				t.Errorf("%v: asked %v, allowed %v", c.resource, claims.Requested(c.resource), claims.Allowed(rightsOf(s, writer), c.resource))
			}
		}
	}
	readOnly := s
	readOnly.Settings.ReadOnly = true
	claims, err := r.verifier.Verify(raw, readOnly)
	if err != nil || claims.Allowed(rightsOf(readOnly, writer), Repository("a/b", Push)) != Pull {
		t.Errorf("a registry that became read-only allows %v, %v", claims.Allowed(rightsOf(readOnly, writer), Repository("a/b", Push)), err)
	}
}

func TestVerify_Anonymous(t *testing.T) {
	r := newRealm(t)
	public := site
	public.Settings.AnonymousPull = true
	raw := r.issue(t, public, Principal{}, Repository("a", Pull|Push))
	claims, err := r.verifier.Verify(raw, public)
	if err != nil || !claims.Principal.Anonymous() || claims.Allowed(rightsOf(public, Principal{}), Repository("a", Pull)) != Pull {
		t.Errorf("%+v, %v", claims, err)
	}
	// The switch is turned off: the token grants nothing any more.
	if claims, err = r.verifier.Verify(raw, site); err != nil || claims.Allowed(rightsOf(site, Principal{}), Repository("a", Pull)) != 0 {
		t.Errorf("after the registry became private: %+v, %v", claims, err)
	}
}

func TestVerify_Time(t *testing.T) {
	r := newRealm(t)
	raw := r.issue(t, site, writer)
	start := r.clock
	for at, good := range map[time.Duration]bool{
		0: true, TokenTTL: true, TokenTTL + leeway - time.Second: true, TokenTTL + leeway + time.Second: false, time.Hour: false,
		-leeway + time.Second: true, -leeway - time.Second: false,
	} {
		r.clock = start.Add(at)
		if _, err := r.verifier.Verify(raw, site); (err == nil) != good {
			t.Errorf("%v after its issue: %v", at, err)
		}
	}
}

func TestB4_TokenIsForOneSiteOfOneTenant(t *testing.T) {
	r := newRealm(t)
	sites := []tenant.Site{
		site,
		{Host: "prod.acme.reg.example", Tenant: 7, Epoch: 3},
		{Host: "acme.reg.example", Tenant: 7, Epoch: 3},
		{Host: "dev.evil.reg.example", Tenant: 8, Epoch: 3},
		{Host: site.Host, Tenant: 9, Epoch: 3},              // the name was given to another tenant
		{Host: "DEV.acme.reg.example", Tenant: 7, Epoch: 3}, // never normalised like this
		{Host: "", Tenant: 7, Epoch: 3},
	}
	for i, issued := range sites {
		raw := r.issue(t, issued, Principal{Name: "x", Tenant: issued.Tenant, Role: Admin})
		for j, used := range sites {
			if i == j {
				if _, err := r.verifier.Verify(raw, used); err != nil {
					t.Errorf("site %d: %v", i, err)
				}
				continue
			}
			r.wantRefused(t, issued.Host+" on "+used.Host, raw, used)
		}
	}
}

func TestB4_TokenOfAnotherIssuerOrUse(t *testing.T) {
	r := newRealm(t)
	other, err := NewIssuer(r.signer, r.keys, "other.example").Issue(rightsOf(site, writer), nil)
	if err != nil {
		t.Fatal(err)
	}
	r.wantRefused(t, "another issuer", other.Raw, site)
	for name, change := range map[string]func(p *payload){
		"no use":         func(p *payload) { p.Use = "" },
		"another use":    func(p *payload) { p.Use = "internal" },
		"no audience":    func(p *payload) { p.Audience = nil },
		"two audiences":  func(p *payload) { p.Audience = append(p.Audience, "prod.acme.reg.example") },
		"no issuer":      func(p *payload) { p.Issuer = "" },
		"no expiry":      func(p *payload) { p.ExpiresAt = nil },
		"no beginning":   func(p *payload) { p.NotBefore = nil },
		"another tenant": func(p *payload) { p.Tenant++ },
		"no epoch":       func(p *payload) { p.Epoch = 0 },
	} {
		p := r.payload()
		change(p)
		r.wantRefused(t, name, r.sign(t, p), site)
	}
	if _, err := r.verifier.Verify(r.sign(t, r.payload()), site); err != nil {
		t.Errorf("the same token with nothing changed: %v", err)
	}
}

func TestB5_EpochAndTenantIDEndTokens(t *testing.T) {
	r := newRealm(t)
	raw := r.issue(t, site, writer)
	if _, err := r.verifier.Verify(raw, site); err != nil {
		t.Fatal(err)
	}
	raised := site
	raised.Epoch++
	r.wantRefused(t, "after the epoch was raised, from memory", raw, raised)
	r.verifier.genuine.Purge()
	r.wantRefused(t, "after the epoch was raised", raw, raised)
	again := site
	again.Tenant, again.Epoch = 12, 1
	r.wantRefused(t, "after the tenant was made again", raw, again)
	// A node that has not heard of the new epoch takes new tokens meanwhile.
	if _, err := r.verifier.Verify(r.issue(t, raised, writer), site); err != nil {
		t.Errorf("a newer token at an older epoch: %v", err)
	}
}

// A token that is remembered is remembered by all of its bytes.
func TestB13_RememberedByAllItsBytes(t *testing.T) {
	r := newRealm(t)
	raw := r.issue(t, site, writer, Repository("a", Push))
	if _, err := r.verifier.Verify(raw, site); err != nil {
		t.Fatal(err)
	}
	for i := range len(raw) {
		changed := []byte(raw)
		changed[i] ^= 1
		r.wantRefused(t, "one bit changed", string(changed), site)
	}
	for _, s := range []string{raw + ".", raw + "=", "." + raw, raw[1:], raw[:len(raw)-1], strings.Replace(raw, ".", "..", 1)} {
		r.wantRefused(t, s, s, site)
	}
	other := site
	other.Host = "prod.acme.reg.example"
	r.wantRefused(t, "another host, from memory", raw, other)
}

func BenchmarkVerify(b *testing.B) {
	r := newRealm(b)
	raw := r.issue(b, site, writer, Repository("a/b", Pull|Push))
	b.Run("new", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r.verifier.genuine.Purge()
			if _, err := r.verifier.Verify(raw, site); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("remembered", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := r.verifier.Verify(raw, site); err != nil {
				b.Fatal(err)
			}
		}
	})
}
