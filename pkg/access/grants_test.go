package access

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/dice"
)

// repositories are n scopes of names with about that many bytes.
func repositories(n, size int) []Scope {
	scopes := make([]Scope, n)
	for i := range scopes {
		scopes[i] = Repository(fmt.Sprintf("team-%02d/%s-%03d", i%7, strings.Repeat("x", max(size-12, 0)), i), Pull|Push)
	}
	return scopes
}

func TestQ14_ManyScopesInOneToken(t *testing.T) {
	r := newRealm(t)
	for _, c := range []struct{ scopes, size, fit int }{
		{1, 255, 1}, {50, 30, 50}, {51, 20, 51}, {60, 60, 60}, {300, 60, 300}, {500, 14, 500}, {500, 60, 100},
	} {
		scopes := repositories(c.scopes, c.size)
		token, err := r.issuer.Issue(rightsOf(site, writer), scopes)
		if err != nil || len(token.Raw) > maxIssued {
			t.Fatalf("%d scopes: %d bytes, %v", c.scopes, len(token.Raw), err)
		}
		claims, err := r.verifier.Verify(token.Raw, site)
		if err != nil {
			t.Fatalf("%d scopes: %v", c.scopes, err)
		}
		n := len(claims.Grants)
		if n < c.fit || !reflect.DeepEqual(token.Granted, scopes[len(scopes)-n:]) {
			t.Errorf("%d of %d scopes of %d bytes fit, told are %d", n, c.scopes, c.size, len(token.Granted))
		}
		for i, scope := range scopes {
			want := Pull | Push
			if i < len(scopes)-n {
				want = 0 // it was not asked for: the client may ask for it again
			}
			if got := claims.Allowed(rightsOf(site, writer), scope); got != want || claims.Requested(scope) != want {
				t.Errorf("scope %d of %d: %v asked, %v allowed", i, c.scopes, claims.Requested(scope), got)
			}
		}
	}
}

func TestQ14_TheLastScopesWin(t *testing.T) {
	r := newRealm(t)
	random := rand.New(rand.NewPCG(dice.Seed(t), 0))
	var scopes []Scope
	for range MaxScopes { // names that have nothing in common
		name := make([]byte, 60)
		for i := range name {
			name[i] = byte('a' + random.IntN(26))
		}
		scopes = append(scopes, Repository(string(name), All))
	}
	token, err := r.issuer.Issue(rightsOf(site, writer), scopes)
	if err != nil || len(token.Raw) > maxIssued {
		t.Fatalf("%d bytes, %v", len(token.Raw), err)
	}
	n := len(token.Granted)
	if n < 80 || n == MaxScopes || token.Granted[n-1].Name != scopes[MaxScopes-1].Name || token.Granted[0].Name != scopes[MaxScopes-n].Name {
		t.Errorf("%d are granted, from %s", n, token.Granted[0].Name)
	}
}

// TestQ14_TokensOfTheVersionBefore: few scopes are written as they were, so that
// old and new nodes read each other's tokens.
func TestQ14_TokensOfTheVersionBefore(t *testing.T) {
	few := Grants{{RepositoryType, "a", Pull, All}, {RegistryType, CatalogName, Pull, All}}
	const text = `[{"type":"repository","name":"a","actions":["pull"],"asked":["pull","push","delete"]},` +
		`{"type":"registry","name":"catalog","actions":["pull"],"asked":["pull","push","delete"]}]`
	if b, err := json.Marshal(few); err != nil || string(b) != text {
		t.Errorf("%s, %v", b, err)
	}
	// A list is read whatever its length.
	var long, read Grants
	for i := range 200 {
		long = append(long, Grant{RepositoryType, fmt.Sprintf("app-%d", i), Pull, Pull | Push})
	}
	b, err := json.Marshal([]Grant(long))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &read); err != nil || !reflect.DeepEqual(read, long) {
		t.Errorf("%d grants, %v", len(read), err)
	}
}

func TestQ14_PackedGrantsComeBack(t *testing.T) {
	r := rand.New(rand.NewPCG(dice.Seed(t), 0))
	for range dice.Count(t, 200, 20_000) {
		want := map[Grant]bool{}
		var grants Grants
		for i := range 50 + r.IntN(MaxScopes-50) {
			asked := Actions(r.IntN(8))
			g := Grant{RepositoryType, randomName(r, i), asked & Actions(r.IntN(8)), asked}
			if i == 0 {
				g.Type, g.Name = RegistryType, CatalogName
			}
			want[g] = true
			grants = append(grants, g)
		}
		b, err := json.Marshal(grants)
		if err != nil {
			t.Fatal(err)
		}
		var read Grants
		if err := json.Unmarshal(b, &read); err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		for _, g := range read {
			if !want[g] {
				t.Fatalf("%+v was read from %s", g, b)
			}
		}
		if len(read) != len(want) {
			t.Fatalf("%d of %d came back", len(read), len(want))
		}
	}
}

// randomName is one of a kind, and often begins like others.
func randomName(r *rand.Rand, i int) string {
	words := []string{"team", "registry.example:5000", "proxy/h:1", "a", strings.Repeat("long-", 20), "a.b_c"}
	return words[r.IntN(len(words))] + "/" + words[3+r.IntN(2)] + fmt.Sprint(i)
}

func FuzzGrants(f *testing.F) {
	f.Add(`{"rep31":"0a 1b 2c ","reg11":"0catalog "}`)
	f.Add(`[{"type":"repository","name":"a","actions":["pull"],"asked":["pull"]}]`)
	f.Add(`{"rep99":"0a"}`)
	f.Add(`{"rep31":"9a"}`)
	f.Add(`null`)
	f.Fuzz(func(t *testing.T, s string) {
		var g Grants
		if json.Unmarshal([]byte(s), &g) != nil || s[0] != '{' {
			return
		}
		if len(g) > MaxScopes || slices.ContainsFunc(g, func(one Grant) bool { return one.Actions > All || one.Requested > All }) {
			t.Fatalf("%q: %d grants %v", s, len(g), g)
		}
	})
}
