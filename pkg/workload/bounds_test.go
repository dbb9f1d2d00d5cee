package workload

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/login"
	"github.com/berth-registry/berth/pkg/meta"
)

const anIssuer = "https://issuer.example"

// TestV47_RegularExpressionsAreBounded by what they make a match do, and not by their length.
func TestV47_RegularExpressionsAreBounded(t *testing.T) {
	var parts []string
	for i := range 100 {
		parts = append(parts, fmt.Sprintf(`claims.a.matches("\\pL{400}%04d")`, i))
	}
	for text, says := range map[string]string{
		strings.Join(parts, "||"): "in all",
		parts[0]:                  "in all",
		strings.Repeat(`claims.a.matches("^a{90}$") || `, 12) + "false": "in all",
		`claims.a.matches(claims.b)`:                                    "written out",
		`claims.a.matches("a" + claims.b)`:                              "written out",
		`["a"].exists(p, matches(claims.a, p))`:                         "written out",
		`claims.a.matches("(")`:                                         "not a regular expression",
		`claims.l.exists(x, x.matches("^[^a]{100}$"))`:                  "cost",
	} {
		err := Check(anIssuer, text)
		if f := fault.From(err); err == nil || f.Kind != fault.Invalid || !strings.Contains(f.Message, says) {
			t.Errorf("%.60s: %v, want %q", text, err, says)
		}
	}
	deep := make([]any, 4000)
	for i := range deep {
		deep[i] = fmt.Sprint(i)
	}
	long := strings.Repeat("a", 8000)
	for _, text := range []string{
		`claims.a.matches("^a{300}.*$")`, `matches(claims.a, "^(a*)*b{200}$")`, `claims.l.exists(x, claims.s.matches("^(a|b){10}$"))`,
		`claims.l.exists(x, claims == {"a": claims.a, "l": claims.l, "s": claims.s} && x == "q")`,
	} {
		c, err := Compile(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if holds, err := c.Holds(t.Context(), map[string]any{"a": long, "s": long[:500], "l": deep}); holds || err == nil {
			t.Errorf("%s: %t, %v", text, holds, err)
		}
	}
}

// TestV47_ALoginThatWasGivenUpRunsNoCondition, and is an outage, not a refusal.
func TestV47_ALoginThatWasGivenUpRunsNoCondition(t *testing.T) {
	a := New(Config{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c := claims{all: map[string]any{"a": "x"}}
	c.Audience = []string{"host"}
	trusts := []meta.TrustedAccount{{Trust: meta.Trust{Condition: `claims.a == "x"`}}}
	if id, err := a.match(ctx, login.Attempt{Host: "host"}, trusts, c); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("%+v, %v", id, err)
	}
	if id, err := a.match(t.Context(), login.Attempt{Host: "host"}, trusts, c); err != nil {
		t.Errorf("%+v, %v", id, err)
	}
}

// TestV47_CompiledConditionsTakeNoMoreThanIsCounted, whatever is in them, and those of a tenant
// push out no other tenant's.
func TestV47_CompiledConditionsTakeNoMoreThanIsCounted(t *testing.T) {
	for part, times := range map[string]int{
		`claims.a == "%04d" || `: 150, `claims.a.matches("a{900}%04d") || `: 1, `claims.a.matches("\\pL\\pL\\pL\\pL\\pL%04d") || `: 1, `claims.a.matches("%04d") || `: 80,
	} {
		const many = 10
		kept, counted := make([]*Condition, many), 0
		before := heap()
		for i := range kept {
			var text strings.Builder
			for j := range times {
				fmt.Fprintf(&text, part, 100*i+j)
			}
			c, err := Compile(text.String() + "false")
			if err != nil {
				t.Fatal(err)
			}
			kept[i] = c
			counted += c.bytes
		}
		if took := heap() - before; took > counted {
			t.Errorf("%s: %d bytes were counted, and %d taken", part, counted, took)
		}
		runtime.KeepAlive(kept)
	}
	a := New(Config{})
	large := &Condition{bytes: maxCompiled / 8}
	keep := func(*Condition) *Condition { return large }
	a.conditions.update("acme", "own", keep)
	for i := range 100 {
		a.conditions.update("other", fmt.Sprint(i), keep)
	}
	if _, ok := a.conditions.get("acme", "own"); !ok || a.conditions.used > maxCompiled {
		t.Errorf("kept %t, %d bytes in use", ok, a.conditions.used)
	}
}

func heap() int {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// TestV46_IssuersOfOneTenantPushOutNoKeysOfAnother, whose issuer does not answer just then.
func TestV46_IssuersOfOneTenantPushOutNoKeysOfAnother(t *testing.T) {
	down := false
	s := newKeySets(func(_ context.Context, of issuer) ([]jose.JSONWebKey, error) {
		if of.tenant == "evil" || down {
			return nil, errors.New("it does not answer")
		}
		return []jose.JSONWebKey{{KeyID: "k"}}, nil
	}, time.Now)
	own := issuer{"acme", anIssuer}
	if _, err := s.find(t.Context(), own, "k"); err != nil {
		t.Fatal(err)
	}
	for i := range maxIssuers + 1 {
		if _, err := s.find(t.Context(), issuer{"evil", fmt.Sprint("https://evil.example/", i)}, "k"); err == nil {
			t.Fatal("an issuer that does not answer has a key")
		}
	}
	down = true
	if _, err := s.find(t.Context(), own, "k"); err != nil {
		t.Error(err)
	}
}
