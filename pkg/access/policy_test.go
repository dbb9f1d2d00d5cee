package access

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/berth-registry/berth/pkg/dice"
	"github.com/berth-registry/berth/pkg/tenant"
)

var (
	ci     = Principal{Name: "serviceAccounts/ci", Tenant: 7, Role: Member}
	other  = Principal{Name: "serviceAccounts/other", Tenant: 7, Role: Member}
	office = netip.MustParseAddr("192.0.2.9")
)

func allow(principal, repositories string, a Actions) Rule {
	return Rule{Principals: []string{principal}, Repositories: []string{repositories}, Actions: a}
}

func deny(principal, repositories string, a Actions) Rule {
	r := allow(principal, repositories, a)
	r.Deny = true
	return r
}

// TestU10_Rules is what rules give and take, case by case.
func TestU10_Rules(t *testing.T) {
	public, readOnly := site, site
	public.Settings.AnonymousPull = true
	readOnly.Settings.ReadOnly = true
	prod := site
	prod.RegistrySlug = "prod"
	inDev := allow(ci.Name, "**", Pull)
	inDev.Registries = []string{"de*"}
	fromOffice := allow(ci.Name, "**", Pull)
	fromOffice.Networks = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	notFromOffice := deny(ci.Name, "**", Pull)
	notFromOffice.Networks = fromOffice.Networks
	notFromLink := deny(ci.Name, "**", Pull)
	notFromLink.Networks = []netip.Prefix{netip.MustParsePrefix("fe80::/10")}
	ended, running := allow(ci.Name, "**", Pull), allow(ci.Name, "**", Pull)
	ended.Until, running.Until = time.Now().Add(-time.Second), time.Now().Add(time.Hour)
	reader := ci
	reader.Role = Reader
	for name, c := range map[string]struct {
		rules      []Rule
		site       tenant.Site
		who        Principal
		from       netip.Addr
		repository string
		want       Actions
	}{
		"nothing by default":             {nil, site, ci, office, "foo/img", 0},
		"one rule":                       {[]Rule{allow(ci.Name, "foo/**", Pull|Push)}, site, ci, office, "foo/img", Pull | Push},
		"deep below":                     {[]Rule{allow(ci.Name, "foo/**", Pull)}, site, ci, office, "foo/a/b/c", Pull},
		"the folder itself":              {[]Rule{allow(ci.Name, "foo/**", Pull)}, site, ci, office, "foo", Pull},
		"not a name that begins alike":   {[]Rule{allow(ci.Name, "foo/**", Pull)}, site, ci, office, "foobar/img", 0},
		"one component":                  {[]Rule{allow(ci.Name, "foo/*", Pull)}, site, ci, office, "foo/a/b", 0},
		"a pattern in the first part":    {[]Rule{allow(ci.Name, "team-*/app", Pull)}, site, ci, office, "team-a/app", Pull},
		"an exact name":                  {[]Rule{allow(ci.Name, "foo/img", Pull)}, site, ci, office, "foo/img", Pull},
		"another principal":              {[]Rule{allow(ci.Name, "**", Pull)}, site, other, office, "foo", 0},
		"everybody signed in":            {[]Rule{allow(Authenticated, "**", Pull)}, site, other, office, "foo", Pull},
		"signed in is not anonymous":     {[]Rule{allow(Authenticated, "**", Pull)}, site, Principal{}, office, "foo", 0},
		"given to anonymous":             {[]Rule{allow(AnonymousPrincipal, "pub/**", Pull)}, site, Principal{}, office, "pub/a", Pull},
		"given to anonymous is for all":  {[]Rule{allow(AnonymousPrincipal, "pub/**", Pull)}, site, ci, office, "pub/a", Pull},
		"taken from anonymous":           {[]Rule{deny(AnonymousPrincipal, "secret/**", Pull)}, public, Principal{}, office, "secret/a", 0},
		"taken from anonymous alone":     {[]Rule{deny(AnonymousPrincipal, "secret/**", Pull)}, public, ci, office, "secret/a", Pull | Fill},
		"a denial wins":                  {[]Rule{deny(ci.Name, "foo/x", Push), allow(ci.Name, "**", Pull|Push)}, site, ci, office, "foo/x", Pull},
		"a denial wins over the role":    {[]Rule{deny(ci.Name, "foo/**", All)}, site, reader, office, "foo/x", 0},
		"a denial wins over the setting": {[]Rule{deny(ci.Name, "foo/**", All)}, public, ci, office, "foo/x", 0},
		"the role keeps the rest":        {[]Rule{deny(ci.Name, "foo/**", All)}, site, reader, office, "bar", Pull | Fill},
		"this registry":                  {[]Rule{inDev}, site, ci, office, "foo", Pull},
		"another registry":               {[]Rule{inDev}, prod, ci, office, "foo", 0},
		"a network":                      {[]Rule{fromOffice}, site, ci, office, "foo", Pull},
		"a network, as IPv6 shows it":    {[]Rule{fromOffice}, site, ci, netip.MustParseAddr("::ffff:192.0.2.9"), "foo", Pull},
		"another network":                {[]Rule{fromOffice}, site, ci, netip.MustParseAddr("198.51.100.1"), "foo", 0},
		"an unknown address":             {[]Rule{fromOffice}, site, ci, netip.Addr{}, "foo", 0},
		"a denial, an unknown address":   {[]Rule{notFromOffice}, site, reader, netip.Addr{}, "foo", 0},
		"a denial, an address of a link": {[]Rule{notFromLink}, site, reader, netip.MustParseAddr("fe80::1%eth0"), "foo", 0},
		"ended":                          {[]Rule{ended}, site, ci, office, "foo", 0},
		"running":                        {[]Rule{running}, site, ci, office, "foo", Pull},
		"a read-only registry":           {[]Rule{allow(ci.Name, "**", Pull|Push|Delete|Fill)}, readOnly, ci, office, "foo", Pull | Fill},
		"filling without pulling":        {[]Rule{allow(ci.Name, "**", Fill)}, site, ci, office, "foo", 0},
		"names of upstreams":             {[]Rule{allow(ci.Name, "proxy/ghcr.io/**", Pull)}, site, ci, office, "proxy/ghcr.io/org/app", Pull},
		"a principal of another tenant":  {[]Rule{allow(Authenticated, "**", Pull)}, site, Principal{Name: ci.Name, Tenant: 8, Role: Admin}, office, "foo", 0},
	} {
		t.Run(name, func(t *testing.T) {
			rights := NewPolicy(1, c.rules).Rights(&c.site, c.who, c.from)
			if got := rights.Allowed(c.repository); got != c.want {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}

// modelAllowed decides as the definition says, rule by rule.
func modelAllowed(rules []Rule, s *tenant.Site, who Principal, groups []string, repository string) Actions {
	given, taken := who.Role.Actions(), Actions(0)
	if who.Anonymous() {
		given = 0
	}
	if s.Settings.AnonymousPull {
		given |= Pull | Fill
	}
	for _, r := range rules {
		everybody := slices.Contains(r.Principals, AnonymousPrincipal)
		named := slices.ContainsFunc(r.Principals, func(name string) bool {
			return name == who.Name || name == Authenticated || slices.Contains(groups, name)
		})
		own := !who.Anonymous() && named
		matches := func(p string) bool { return doublestar.MatchUnvalidated(p, repository) }
		switch {
		case !slices.ContainsFunc(r.Repositories, matches), len(r.Registries) > 0 && !slices.Contains(r.Registries, s.RegistrySlug):
		case r.Deny && (own || everybody && who.Anonymous()):
			taken |= r.Actions
		case !r.Deny && (own || everybody):
			given |= r.Actions
		}
	}
	given &^= taken
	if !given.Has(Pull) {
		given &^= Fill
	}
	return given
}

// TestU10_RulesAreTheModel holds the index against the definition.
func TestU10_RulesAreTheModel(t *testing.T) {
	r := rand.New(rand.NewPCG(dice.Seed(t), 0))
	parts := []string{"a", "b", "ab", "a-b", "*", "**", "a*", "?", "[ab]"}
	words := []string{"a", "b", "ab", "a-b", "ba"}
	pick := func(from []string, most int) string {
		text := from[r.IntN(len(from))]
		for range r.IntN(most) {
			text += "/" + from[r.IntN(len(from))]
		}
		return text
	}
	principals := []string{ci.Name, other.Name, Authenticated, AnonymousPrincipal, "groups/dev", "groups/ops"}
	for range 4000 {
		var rules []Rule
		for range r.IntN(8) {
			rule := Rule{Deny: r.IntN(3) == 0, Actions: Actions(r.IntN(16))}
			for range 1 + r.IntN(2) {
				rule.Principals = append(rule.Principals, principals[r.IntN(len(principals))])
				rule.Repositories = append(rule.Repositories, pick(parts, 3))
			}
			if r.IntN(2) == 0 {
				rule.Registries = []string{[]string{"dev", "prod"}[r.IntN(2)]}
			}
			rules = append(rules, rule)
		}
		s := site
		s.Settings.AnonymousPull = r.IntN(4) == 0
		who := []Principal{ci, other, {}, {Name: ci.Name, Tenant: 7, Role: Writer}}[r.IntN(4)]
		groups := []string{"groups/dev", "groups/ops", "groups/none"}[r.IntN(3):]
		rights := NewPolicy(1, rules).Rights(&s, who, office, groups...)
		for range 4 {
			repository := pick(words, 4)
			got, want := rights.Allowed(repository), modelAllowed(rules, &s, who, groups, repository)
			if got != want {
				t.Fatalf("%s may %v in %q, the model says %v\nrules %+v", who.Actor(), got, repository, want, rules)
			}
			if !rights.Somewhere().Has(got) {
				t.Fatalf("%s may %v in %q, and %v somewhere", who.Actor(), got, repository, rights.Somewhere())
			}
		}
	}
}

func TestU11_PoliciesFollowTheVersion(t *testing.T) {
	l := &memoryLoader{rules: []Rule{allow(ci.Name, "**", Pull)}, version: 1}
	p := NewPolicies(l)
	may := func(version int64) Actions {
		s := site
		s.AccessVersion = version
		rights, err := p.Rights(t.Context(), &s, ci, office)
		if err != nil {
			t.Fatal(err)
		}
		return rights.Allowed("foo")
	}
	if may(0) != 0 || l.loads != 0 {
		t.Errorf("a tenant that never had a rule: %d loads", l.loads)
	}
	for range 2 {
		if may(1) != Pull || l.loads != 1 {
			t.Errorf("requests by one version: %d loads", l.loads)
		}
	}
	l.rules, l.version = nil, 2
	if may(2) != 0 || l.loads != 2 {
		t.Errorf("after a change: %v, %d loads", may(2), l.loads)
	}
	if l.memberLoads != 0 {
		t.Errorf("groups were loaded %d times where no rule names one", l.memberLoads)
	}
}

// TestU16_PoliciesAreBounded in memory, however many principals come.
func TestU16_PoliciesAreBounded(t *testing.T) {
	var rules []Rule
	for i := range 200 {
		r := allow(Authenticated, fmt.Sprintf("team-%d/**", i), Pull)
		for j := range 64 {
			r.Principals = append(r.Principals, fmt.Sprintf("serviceAccounts/ci-%d", (i+j)%1000))
			r.Repositories = append(r.Repositories, fmt.Sprintf("team-%d/app-%d", i, j))
		}
		rules = append(rules, r)
	}
	p := NewPolicy(1, rules)
	for i := range 2000 {
		who := ci
		who.Name = fmt.Sprintf("serviceAccounts/ci-%d", i)
		rights := p.Rights(&site, who, office)
		if got := rights.Allowed("team-7/app-9"); got != Pull {
			t.Fatalf("%s may %v", who.Name, got)
		}
		var held int64
		for _, x := range p.chosen.Values() {
			held += x.patterns
		}
		if held > maxPatterns || held != p.held.Load() {
			t.Fatalf("after %d principals %d patterns are held, counted are %d", i+1, held, p.held.Load())
		}
	}
}

// TestU16_CrowdedFolders are refused before they make decisions slow.
func TestU16_CrowdedFolders(t *testing.T) {
	fill := func(format string, n int) []Rule {
		var rules []Rule
		for i := range n {
			rules = append(rules, allow(ci.Name, fmt.Sprintf(format, i), Pull))
		}
		return rules
	}
	for format, want := range map[string]string{"*-%d/app": "", "a/b/*-%d": "a/b"} {
		if folder, crowded := Crowded(fill(format, MaxSlowPatterns)); crowded {
			t.Errorf("%s: %q is crowded", format, folder)
		}
		if folder, crowded := Crowded(fill(format, MaxSlowPatterns+1)); !crowded || folder != want {
			t.Errorf("%s: %q, %v", format, folder, crowded)
		}
	}
	for _, format := range []string{"team-%d/**", "team/app-%d", "team-%d/*"} {
		if folder, crowded := Crowded(fill(format, 10*MaxSlowPatterns)); crowded {
			t.Errorf("%s: %q is crowded", format, folder)
		}
	}
}

func BenchmarkRights_1000Rules(b *testing.B) {
	var rules []Rule
	for i := range 1000 {
		rules = append(rules, allow(fmt.Sprintf("serviceAccounts/ci-%d", i%50), fmt.Sprintf("team-%d/**", i), Pull|Push))
	}
	policy := NewPolicy(1, rules)
	who := Principal{Name: "serviceAccounts/ci-7", Tenant: 7, Role: Member}
	b.ReportAllocs()
	for b.Loop() {
		rights := policy.Rights(&site, who, office)
		if rights.Allowed("team-57/app/web") != Pull|Push {
			b.Fatal("no right")
		}
	}
}

// TestU12_SeekHidesNothing holds the jumps over hidden names against a list of all, of those
// that the caller may pull from, and of those that it may manage, too.
func TestU12_SeekHidesNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(dice.Seed(t), 0))
	patterns := []string{"a/**", "\x00", "é/**", "b", "b-x/*", "c/d/**", "c/*/e", "team-*/a", "**", "b/c"}
	words := []string{"a", "b", "b-x", "b0", "c", "d", "e", "team-1"}
	for range 2000 {
		var rules []Rule
		for range r.IntN(4) {
			rule := allow([]string{ci.Name, AnonymousPrincipal}[r.IntN(2)], patterns[r.IntN(len(patterns))], []Actions{Pull, Manage, Pull | Manage}[r.IntN(3)])
			rule.Deny = r.IntN(4) == 0
			rules = append(rules, rule)
		}
		s := site
		s.Settings.AnonymousPull = r.IntN(6) == 0
		rights := NewPolicy(1, rules).Rights(&s, []Principal{ci, {}}[r.IntN(2)], office)
		var names []string
		for range 30 {
			name := words[r.IntN(len(words))]
			for range r.IntN(3) {
				name += "/" + words[r.IntN(len(words))]
			}
			names = append(names, name)
		}
		slices.Sort(names)
		names = slices.Compact(names)
		actions := []Actions{Pull, Pull | Manage}[r.IntN(2)]
		var want, got []string
		for _, name := range names {
			if rights.Allowed(name)&actions != 0 {
				want = append(want, name)
			}
		}
		if rights.SeesAll() && len(want) < len(names) {
			t.Fatalf("%v of %v are visible, and SeesAll\nrules %+v", want, names, rules)
		}
		for after := ""; ; {
			from, more := rights.Seek(after, actions)
			if !more {
				break
			}
			if from < after {
				t.Fatalf("Seek(%q) leads back to %q", after, from)
			}
			i, found := slices.BinarySearch(names, from)
			if found {
				i++
			}
			if i == len(names) {
				break
			}
			if after = names[i]; rights.Allowed(after)&actions != 0 {
				got = append(got, after)
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("found %v, visible are %v\nrules %+v", got, want, rules)
		}
	}
}
