package tenant

import (
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/fault"
)

func mustPattern(t testing.TB, pattern, base string) Pattern {
	t.Helper()
	p, err := NewPattern(pattern, base)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPattern(t *testing.T) {
	for _, c := range []struct{ pattern, host, tenant, registry string }{
		{DotPattern, "acme.reg.example", "acme", "main"},
		{DotPattern, "dev.acme.reg.example", "acme", "dev"},
		{DotPattern, "my-dev.acme-2.reg.example", "acme-2", "my-dev"},
		{DashPattern, "acme.reg.example", "acme", "main"},
		{DashPattern, "dev--acme.reg.example", "acme", "dev"},
		{DashPattern, "my-dev--acme-2.reg.example", "acme-2", "my-dev"},
	} {
		p := mustPattern(t, c.pattern, "reg.example")
		tenant, registry, ok := p.Parse(c.host)
		if !ok || tenant != c.tenant || registry != c.registry {
			t.Errorf("%s: Parse(%q) = %q, %q, %v", c.pattern, c.host, tenant, registry, ok)
		}
		if got := p.Host(c.tenant, c.registry); got != c.host {
			t.Errorf("%s: Host(%q, %q) = %q, want %q", c.pattern, c.tenant, c.registry, got, c.host)
		}
	}
}

func TestPattern_Refuses(t *testing.T) {
	for pattern, hosts := range map[string][]string{
		DotPattern: {
			"reg.example", ".reg.example", "xreg.example", "a.dev.acme.reg.example", "main.acme.reg.example", "dev--acme.reg.example",
			"dev.acme.reg.example.evil.tld", "a.reg.example", "1acme.reg.example", "xn--acm-tma.reg.example", "", "acme",
		},
		DashPattern: {
			"dev.acme.reg.example", "main--acme.reg.example", "a--b--acme.reg.example", "dev---acme.reg.example", "--acme.reg.example",
			"dev--.reg.example", "xn--acme.reg.example.tld", "reg.example",
		},
	} {
		p := mustPattern(t, pattern, "reg.example")
		for _, host := range hosts {
			if tenant, registry, ok := p.Parse(host); ok {
				t.Errorf("%s: Parse(%q) = %q, %q", pattern, host, tenant, registry)
			}
		}
	}
}

func TestPattern_Contains(t *testing.T) {
	p := mustPattern(t, DotPattern, "reg.example")
	for host, want := range map[string]bool{
		"reg.example": true, "acme.reg.example": true, "a.b.c.reg.example": true, "areg.example": false, "example": false, "registry.acme.com": false,
	} {
		if got := p.Contains(host); got != want {
			t.Errorf("Contains(%q) = %v", host, got)
		}
	}
}

func TestNewPattern_Refuses(t *testing.T) {
	for _, c := range [][2]string{
		{"{tenant}.{base}", "reg.example"},
		{"", "reg.example"},
		{DotPattern, ""},
		{DotPattern, "Reg.example"},
		{DotPattern, "reg.example:5000"},
		{DotPattern, "reg.example."},
		{DashPattern, "reg_example"},
	} {
		if _, err := NewPattern(c[0], c[1]); err == nil {
			t.Errorf("NewPattern(%q, %q) was taken", c[0], c[1])
		}
	}
}

func FuzzPattern(f *testing.F) {
	for _, s := range []string{"acme.reg.example", "dev.acme.reg.example", "dev--acme.reg.example", "main.acme.reg.example", "a--b--c.reg.example"} {
		f.Add(s)
	}
	patterns := []Pattern{mustPattern(f, DotPattern, "reg.example"), mustPattern(f, DashPattern, "reg.example")}
	f.Fuzz(func(t *testing.T, host string) {
		for _, p := range patterns {
			tenant, registry, ok := p.Parse(host)
			if !ok {
				continue
			}
			if back := p.Host(tenant, registry); back != host {
				t.Fatalf("%q is (%q, %q), whose host is %q", host, tenant, registry, back)
			}
			if h, err := NormalizeHost(host); err != nil || h != host {
				t.Fatalf("%q matches but normalises to %q, %v", host, h, err)
			}
		}
	})
}

func TestCheckSlug(t *testing.T) {
	for _, s := range []string{"acme", "ab", "a1", "a-b-c", "a" + strings.Repeat("b", 30)} {
		if err := CheckSlug(s); err != nil {
			t.Errorf("CheckSlug(%q): %v", s, err)
		}
	}
	for _, s := range []string{
		"", "a", "1a", "-a", "a-", "a--b", "A1", "aB", "a_b", "a.b", "a b", "a\x00", "аcme", "a" + strings.Repeat("b", 31), strings.Repeat("a", 1<<20),
	} {
		err := CheckSlug(s)
		if !fault.Is(err, fault.RequestInvalid) || len(fault.From(err).Message) > 400 {
			t.Errorf("CheckSlug(%.40q): %v", s, err)
		}
	}
}
