package access

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/dice"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

func TestB9_Scopes(t *testing.T) {
	long := strings.Repeat("a", 255)
	for _, c := range []struct {
		values string // several scope parameters are separated by |
		want   []Scope
	}{
		{"", nil},
		{"repository:a/b:pull", []Scope{Repository("a/b", Pull)}},
		{"repository:a/b:pull,push", []Scope{Repository("a/b", Pull|Push)}},
		{"repository:a/b:push,pull,delete", []Scope{Repository("a/b", All)}},
		{"repository:a:*", []Scope{Repository("a", All)}},
		{"repository:a:pull,*", []Scope{Repository("a", All)}},
		{"repository(plugin):a:pull", []Scope{Repository("a", Pull)}},
		{"repository:a:pull repository:b:push", []Scope{Repository("a", Pull), Repository("b", Push)}},
		{"repository:a:pull|repository:b:push", []Scope{Repository("a", Pull), Repository("b", Push)}},
		{"repository:a:pull repository:b:push|repository:a:push", []Scope{Repository("b", Push), Repository("a", Pull|Push)}},
		{"  repository:a:pull   ", []Scope{Repository("a", Pull)}},
		{"registry:catalog:*", []Scope{{RegistryType, CatalogName, All}}},
		{"registry:catalog:pull", []Scope{Catalog}},
		{"repository:localhost:5000/a:pull", []Scope{Repository("localhost:5000/a", Pull)}},
		{"repository:Reg.Example:443/a/b:pull,push", []Scope{Repository("Reg.Example:443/a/b", Pull|Push)}},
		{"repository:proxy/docker.io/library/alpine:pull", []Scope{Repository("proxy/docker.io/library/alpine", Pull)}},
		{"repository:proxy/localhost:5000/app:pull", []Scope{Repository("proxy/localhost:5000/app", Pull)}},
		{"repository:proxy/xn--bcher-kva.example:443/a/b:pull,push", []Scope{Repository("proxy/xn--bcher-kva.example:443/a/b", Pull|Push)}},
		{"repository:proxy/[::1]:5000/app:pull", []Scope{Repository("proxy/[::1]:5000/app", Pull)}},
		{"repository:proxy/[2001:db8::1]/a/b:pull", []Scope{Repository("proxy/[2001:db8::1]/a/b", Pull)}},
		{"repository:proxy/[::1]5000/app:pull", nil},
		{"repository:[::1]:5000/app:pull", nil},
		{"repository:proxy/[a]/b/[::1]/app:pull", nil},
		{"repository:a:", []Scope{Repository("a", 0)}},
		{"repository:a:fly,pull", []Scope{Repository("a", Pull)}},
		{"repository:a:PULL", []Scope{Repository("a", 0)}},
		{"repository:" + long + ":pull", []Scope{Repository(long, Pull)}},
		{"repository:pull:pull", []Scope{Repository("pull", Pull)}},
		// malformed, or of a type that is not known: asks for nothing
		{"*", nil},
		{":", nil},
		{"::", nil},
		{":::", nil},
		{"repository", nil},
		{"repository:", nil},
		{"repository:a", nil},
		{"repository::pull", nil},
		{"repository:*:pull", nil},
		{"*:*:*", nil},
		{"repository:A:pull", nil},
		{"repository:a//b:pull", nil},
		{"repository:../a:pull", nil},
		{"repository:a/:pull", nil},
		{"repository:a\x00:pull", nil},
		{"repository:a%2fb:pull", nil},
		{"repository:" + long + "a:pull", nil},
		{"repository:a:pull:push", nil},
		{"repository:a:b:pull", nil},
		{"repository:host:99999999/a:pull", nil},
		{"repository:host:/a:pull", nil},
		{"repository:-h:1/a:pull", nil},
		{"repository:proxy/LOCALHOST:5000/app:pull", nil},
		{"repository:proxy/localhost:5000:pull", nil},
		{"repository:proxy/localhost:5000/:pull", nil},
		{"repository:proxy/:5000/app:pull", nil},
		{"repository:proxy/localhost:/app:pull", nil},
		{"repository:proxy/localhost:123456/app:pull", nil},
		{"repository:proxy/a/localhost:5000/app:pull", nil},
		{"repository:other/localhost:5000/app:pull", nil},
		{"repository:proxy/localhost:5000/proxy/localhost:5000/app:pull", nil},
		{"repository:proxy/..:5000/app:pull", nil},
		{"repository:proxy/-h:1/a:pull", nil},
		{"repository:proxy/h.:1/a:pull", nil},
		{"repository:h:1/proxy/h:1/a:pull", nil},
		{"Repository:a:pull", nil},
		{"repository():a:pull", nil},
		{"repository(a)(b):a:pull", nil},
		{"repository(a:pull", nil},
		{"repository(A):a:pull", nil},
		{"repo:a:pull", nil},
		{"registry:other:*", nil},
		{"registry:catalog", nil},
		{"upstream:a:pull", nil},
		{"repositoryа:a:pull", nil},
		{"repository:a:pull\trepository:b:pull", nil},
		{"repository:a:pull\nrepository:b:push", nil},
	} {
		if got := ParseScopes(strings.Split(c.values, "|")); !reflect.DeepEqual(got, c.want) {
			t.Errorf("ParseScopes(%.60q) = %v; want %v", c.values, got, c.want)
		}
	}
}

func TestB9_AtMostMaxScopes(t *testing.T) {
	one := "repository:a:pull "
	if got := ParseScopes([]string{strings.Repeat(one, 10*MaxScopes), "repository:a:push"}); !reflect.DeepEqual(got, []Scope{Repository("a", Pull|Push)}) {
		t.Errorf("many of one resource: %v", got)
	}
	if got := ParseScopes([]string{strings.Repeat("unknown:x:y ", 1000), one}); !reflect.DeepEqual(got, []Scope{Repository("a", Pull)}) {
		t.Errorf("after many that are unknown: %v", got)
	}
	var all []Scope
	var values []string
	for i := range MaxScopes + 100 {
		all = append(all, Repository(fmt.Sprintf("r%d", i), Pull))
		values = append(values, all[i].String())
	}
	if got := ParseScopes(values); !reflect.DeepEqual(got, all[100:]) {
		t.Errorf("%d resources, from %v", len(got), got[0])
	}
	// What an ignored one asks for counts where its resource is named again.
	if got := ParseScopes(append([]string{"repository:r599:push"}, values...)); got[MaxScopes-1].Actions != Pull|Push {
		t.Errorf("the last one: %v", got[MaxScopes-1])
	}
}

// model is the reference: a set of (type, name, action), made by looking at
// each scope character by character, without the code under test.
type model map[[3]string]bool

func (m model) ask(scope string) {
	parts := strings.Split(scope, ":")
	if len(parts) < 3 {
		return
	}
	kind, name, actions := parts[0], strings.Join(parts[1:len(parts)-1], ":"), parts[len(parts)-1]
	if open := strings.IndexByte(kind, '('); open >= 0 {
		class := kind[open:]
		if len(class) < 3 || class[len(class)-1] != ')' || strings.Trim(class[1:len(class)-1], "abcdefghijklmnopqrstuvwxyz0123456789") != "" {
			return
		}
		kind = kind[:open]
	}
	path := name
	if len(parts) == 4 { // host:port/path
		host, port := parts[1], parts[2]
		if upstream, ok := strings.CutPrefix(host, "proxy/"); ok {
			if upstream != strings.ToLower(upstream) {
				return
			}
			host = upstream
		}
		slash := strings.IndexByte(port, '/')
		if host == "" || slash < 1 || slash > 5 || strings.Trim(port[:slash], "0123456789") != "" || strings.ContainsAny(host, "/_") {
			return
		}
		path = port[slash+1:]
	}
	switch {
	case kind == "repository" && len(parts) <= 4 && oci.CheckName(path) == nil:
	case kind == "registry" && name == "catalog":
	default:
		return
	}
	for _, a := range strings.Split(actions, ",") {
		for _, known := range []string{"pull", "push", "delete"} {
			if a == known || a == "*" {
				m[[3]string{kind, name, known}] = true
			}
		}
	}
}

func randomScope(r *rand.Rand) string {
	pick := func(words ...string) string { return words[r.IntN(len(words))] }
	s := pick("repository", "repository", "repository", "registry", "repository(plugin)", "repository()", "repository(x", "user", "", "*") + ":"
	s += pick("a", "a/b", "b", "catalog", "localhost:5000/a", "h:x/a", "h:1/a/b", "proxy/h:1/a", "proxy/H:1/a", "proxy/h/i:1/a", "proxy/h:1/", ":", "", "A", "a//b", "*", "h:123456/a")
	for i := range r.IntN(4) {
		s += pick(":", ",", ",")[:1]
		if i == 0 {
			s = s[:len(s)-1] + ":"
		}
		s += pick("pull", "push", "delete", "*", "", "fly", "PULL")
	}
	return s
}

func TestB9_GrantedEqualsModel(t *testing.T) {
	r := rand.New(rand.NewPCG(dice.Seed(t), 0))
	for range dice.Count(t, 10_000, 1_000_000) {
		asked := model{}
		values := make([]string, 1+r.IntN(3))
		for i := range values {
			for range r.IntN(4) {
				scope := randomScope(r)
				asked.ask(scope)
				values[i] += scope + strings.Repeat(" ", 1+r.IntN(2))
			}
		}
		site := tenant.Site{Tenant: 1, Settings: tenant.Settings{
			AnonymousPull: r.IntN(2) == 0, AnonymousPush: r.IntN(4) == 0, ReadOnly: r.IntN(4) == 0,
		}}
		p := []Principal{
			{},
			{Name: "r", Tenant: 1, Role: Reader},
			{Name: "w", Tenant: 1, Role: Writer},
			{Name: "a", Tenant: 1, Role: Admin},
			{Name: "o", Tenant: 2, Role: Admin},
			{Name: "x", Tenant: 1, Role: "ROOT"},
		}[r.IntN(6)]
		grants := decide(rightsOf(site, p), ParseScopes(values))
		checkGrants(t, fmt.Sprintf("%q for %+v at %+v", values, p, site.Settings), asked, grants, site, p)
	}
}

func checkGrants(t *testing.T, what string, asked model, grants []Grant, site tenant.Site, p Principal) {
	t.Helper()
	may := map[string]bool{}
	for _, a := range strings.Split(rightsOf(site, p).Allowed("").String(), ",") {
		may[a] = true
	}
	got := model{}
	for _, g := range grants {
		for _, a := range g.Actions.names() {
			got[[3]string{g.Type, g.Name, a}] = true
		}
	}
	want := model{}
	for k := range asked {
		if may[k[2]] && (k[0] == "repository" || k[2] == "pull") {
			want[k] = true
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s: granted %v, the model says %v", what, got, want)
	}
}

func FuzzParseScopes(f *testing.F) {
	for _, s := range []string{
		"repository:a/b:pull,push", "repository(plugin):a:*", "registry:catalog:*", "repository:localhost:5000/a:pull", "repository:proxy/localhost:5000/a:pull",
		"repository:proxy/docker.io/a:pull", "repository:proxy/h--i.j:1/a:*", "*", "a:b:c d:e:f", ":::",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		scopes := ParseScopes([]string{s})
		if len(scopes) > MaxScopes {
			t.Fatalf("%q: %d scopes", s, len(scopes))
		}
		for _, scope := range scopes {
			again := ParseScopes([]string{scope.String()})
			if len(again) != 1 || again[0].Type != scope.Type || again[0].Name != scope.Name || !again[0].Actions.Has(scope.Actions) {
				t.Fatalf("%q has %v, which reads back as %v", s, scope, again)
			}
		}
	})
}

func ExampleParseScopes() {
	fmt.Println(ParseScopes([]string{"repository:app:pull,push registry:catalog:*"}))
	// Output: [repository:app:pull,push registry:catalog:*]
}
