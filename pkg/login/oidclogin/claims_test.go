package oidclogin

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// TestV74_ClaimsOfAPerson: groups are a name or a list of names, anywhere in the token; all else is
// refused, so that no right is lost or won by it.
func TestV74_ClaimsOfAPerson(t *testing.T) {
	many := func(n int) string { return "[" + strings.TrimSuffix(strings.Repeat(`"g",`, n), ",") + "]" }
	for _, c := range []struct {
		claim, text string
		want        []string
		refused     bool
	}{
		{"groups", `{"sub": "s"}`, nil, false},
		{"groups", `{"sub": "s", "groups": null}`, nil, false},
		{"groups", `{"sub": "s", "groups": []}`, nil, false},
		{"groups", `{"sub": "s", "groups": "dev"}`, []string{"dev"}, false},
		{"groups", `{"sub": "s", "groups": "dev staff"}`, []string{"dev staff"}, false},
		{"groups", `{"sub": "s", "groups": ["staff", "dev", "dev"]}`, []string{"dev", "staff"}, false},
		{"", `{"sub": "s", "groups": ["dev"]}`, nil, false},
		{"realm_access.roles", `{"sub": "s", "realm_access": {"roles": ["dev"]}}`, []string{"dev"}, false},
		{"a.b.c", `{"sub": "s", "a": {"b.c": ["x"]}}`, []string{"x"}, false},
		{"https://example.org/groups", `{"sub": "s", "https://example.org/groups": ["dev"]}`, []string{"dev"}, false},
		{"realm_access.roles", `{"sub": "s", "realm_access": ["roles"]}`, nil, false},
		{"groups", `{"sub": "s", "groups": ` + many(10_000) + `}`, []string{"g"}, false},
		{"groups", `{"sub": "s", "groups": ` + many(10_001) + `}`, nil, true},
		{"groups", `{"sub": "s", "groups": {"dev": true}}`, nil, true},
		{"groups", `{"sub": "s", "groups": [["dev"]]}`, nil, true},
		{"groups", `{"sub": "s", "groups": [1]}`, nil, true},
		{"groups", `{"sub": "s", "groups": true}`, nil, true},
		{"groups", `{"sub": "s", "groups": [""]}`, nil, true},
		{"groups", `{"sub": "s", "groups": ["` + strings.Repeat("g", 1025) + `"]}`, nil, true},
		{"groups", `{"sub": "s", "groups": ["a\u0000b"]}`, nil, true},
		{"groups", `{"sub": "s", "_claim_names": {"groups": "src1"}}`, nil, true},
		{"groups", `{"sub": ""}`, nil, true},
		{"groups", `{"sub": 7}`, nil, true},
		{"groups", `{}`, nil, true},
	} {
		var all claims
		if err := json.Unmarshal([]byte(c.text), &all); err != nil {
			t.Fatal(err)
		}
		p, err := Settings{Groups: c.claim}.person(all)
		if (err != nil) != c.refused || err == nil && !slices.Equal(p.Groups, c.want) {
			t.Errorf("%s of %.100s: %.3q, %v", c.claim, c.text, p.Groups, err)
		}
	}
	for text, want := range map[string]string{
		`{"sub": "s", "preferred_username": "max"}`:                                    "max",
		`{"sub": "s", "preferred_username": 7}`:                                        "s",
		`{"sub": "s", "preferred_username": "a\nb"}`:                                   "s",
		`{"sub": "s", "email": "max@example.org", "email_verified": true}`:             "s",
		`{"sub": "s", "preferred_username": "` + strings.Repeat("m", maxName+1) + `"}`: "s",
	} {
		var all claims
		if err := json.Unmarshal([]byte(text), &all); err != nil {
			t.Fatal(err)
		}
		if p, err := (Settings{}).person(all); err != nil || p.Name != want {
			t.Errorf("%.100s: %q, %v", text, p.Name, err)
		}
	}
}

func FuzzV74_Claims(f *testing.F) {
	for _, seed := range []string{`{"sub":"s","groups":["dev"]}`, `{"sub":"s","a":{"b":"c"}}`, `{"sub":"s","groups":{"dev":[]}}`, `{"_claim_names":{"groups":"x"}}`} {
		f.Add(seed, "groups")
		f.Add(seed, "a.b")
	}
	f.Fuzz(func(t *testing.T, text, claim string) {
		var all claims
		if json.Unmarshal([]byte(text), &all) != nil {
			return
		}
		p, err := Settings{Groups: claim}.person(all)
		if err == nil && (p.Subject == "" || p.Name == "" || len(p.Groups) > maxGroups || slices.Contains(p.Groups, "")) {
			t.Errorf("%q: %+v", text, p)
		}
	})
}
