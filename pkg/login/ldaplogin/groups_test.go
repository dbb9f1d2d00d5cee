package ldaplogin_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/berth-registry/berth/pkg/login"
	"github.com/berth-registry/berth/pkg/login/ldaplogin"
	"github.com/berth-registry/berth/tools/testserver"
)

// inAlice adds the groups dev and ops of alice, all of which dev is in, and top and all, which
// contain each other, in both shapes. By then the server runs, so that the overlay sees it.
func inAlice(s *testserver.Slapd) {
	group := func(base string) func(string) string {
		return func(cn string) string { return "cn=" + cn + "," + base }
	}
	of, ad := group(testserver.SlapdGroups), group(testserver.ADGroups)
	s.Add(testserver.SlapdGroup("dev", aliceDN))
	s.Add(testserver.SlapdGroup("ops", aliceDN))
	s.Add(testserver.SlapdGroup("all", of("dev"), of("top")))
	s.Add(testserver.SlapdGroup("top", of("all")))
	s.Add(testserver.SlapdGroup("bobs", "uid=bob,"+testserver.SlapdPeople))
	for i, g := range []testserver.SlapdEntry{
		testserver.ADGroup("dev", "", "cn=alice,"+testserver.ADPeople), testserver.ADGroup("ops", "", "cn=alice,"+testserver.ADPeople),
		testserver.ADGroup("all", "", ad("dev"), ad("top")), testserver.ADGroup("top", "", ad("all")), testserver.ADGroup("bobs", "", "cn=bob,"+testserver.ADPeople),
	} {
		g.Attributes["objectGUID"] = []string{fmt.Sprintf("group %010d", i)}
		s.Add(g)
	}
}

// TestV6_GroupsAreFound by memberOf and by search, direct and nested, in both shapes.
func TestV6_GroupsAreFound(t *testing.T) {
	s := start(t)
	inAlice(s)
	for name, shape := range map[string]struct {
		settings ldaplogin.Settings
		groups   string
	}{"OpenLDAP": {bySearch(s), testserver.SlapdGroups}, "Active Directory": {ofAD(s), testserver.ADGroups}} {
		t.Run(name, func(t *testing.T) {
			expect := func(change func(*ldaplogin.Settings), want ...string) {
				t.Helper()
				settings := shape.settings
				change(&settings)
				c, _ := open(t, settings)
				p := found(t, c, "alice", aliceSecret)
				groupsAre(t, p, want...)
				groupsAre(t, again(t, c, p.Subject), want...)
			}
			expect(func(*ldaplogin.Settings) {}, "dev", "ops")
			expect(func(s *ldaplogin.Settings) { s.GroupsByDN = true }, "cn=dev,"+shape.groups, "cn=ops,"+shape.groups)
			expect(func(s *ldaplogin.Settings) { s.MemberOf, s.GroupBase = "description", shape.groups }, "dev", "ops")
			expect(func(s *ldaplogin.Settings) { s.GroupBase, s.Nested = shape.groups, ldaplogin.Walk }, "all", "dev", "ops", "top")
			expect(func(s *ldaplogin.Settings) { s.GroupBase, s.GroupFilter = shape.groups, "(cn={name})" }, "dev", "ops")
			// slapd does not know the rule of Active Directory: it finds none, and refuses nothing.
			expect(func(s *ldaplogin.Settings) { s.GroupBase, s.Nested = shape.groups, ldaplogin.InChain }, "dev", "ops")
		})
	}
}

// TestV6_AGroupGetsNoRightsOfAPersonOfItsName in a walk whose filter is also about names.
func TestV6_AGroupGetsNoRightsOfAPersonOfItsName(t *testing.T) {
	s := start(t)
	dev, named := testserver.SlapdGroup("dev", aliceDN), testserver.SlapdGroup("named", testserver.SlapdService)
	named.Attributes["description"] = []string{"dev"} // a list of people by name
	direct := testserver.SlapdGroup("direct", testserver.SlapdService)
	direct.Attributes["description"] = []string{"alice"}
	for _, g := range []testserver.SlapdEntry{dev, named, direct} {
		s.Add(g)
	}
	settings := bySearch(s)
	settings.GroupBase, settings.GroupFilter, settings.Nested = testserver.SlapdGroups, "(|(member={dn})(description={name}))", ldaplogin.Walk
	c, _ := open(t, settings)
	groupsAre(t, found(t, c, "alice", aliceSecret), "dev", "direct")
}

// TestV9_ManyGroups of one person are all found, by memberOf and by search; more than 10,000
// are refused as an outage, since one that is left out could take rights.
func TestV9_ManyGroups(t *testing.T) {
	const many = 5_000
	entries := make([]testserver.SlapdEntry, 0, many)
	names := make([]string, 0, many)
	member := testserver.SlapdPerson("member", "the secret of member")
	for i := range many {
		g := testserver.SlapdGroup(fmt.Sprintf("team-%05d", i), aliceDN)
		entries, names = append(entries, g), append(names, g.Attributes["cn"][0])
		member.Attributes["memberOf"] = append(member.Attributes["memberOf"], g.DN)
	}
	over := testserver.SlapdPerson("over", "the secret of over")
	over.Attributes["memberOf"] = slices.Clone(member.Attributes["memberOf"])
	for i := range 5_001 {
		over.Attributes["memberOf"] = append(over.Attributes["memberOf"], fmt.Sprintf("cn=other-%05d,%s", i, testserver.SlapdGroups))
	}
	s := start(t, append(entries, member, over)...)
	searching := bySearch(s)
	searching.GroupBase = testserver.SlapdGroups
	for name, settings := range map[string]ldaplogin.Settings{"member": bySearch(s), "alice": searching} {
		c, _ := open(t, settings)
		p := found(t, c, name, "the secret of "+name)
		if !slices.Equal(p.Groups, names) {
			t.Errorf("%s has %d groups", name, len(p.Groups))
		}
		if p = again(t, c, p.Subject); len(p.Groups) != many {
			t.Errorf("%s has %d groups when found again", name, len(p.Groups))
		}
	}
	c, _ := open(t, bySearch(s))
	if p, err := c.Authenticate(t.Context(), "over", "the secret of over"); !isOutage(err) || errors.Is(err, login.ErrGone) {
		t.Errorf("more than 10,000 groups: %d, %v", len(p.Groups), err)
	}
	found(t, c, "bob", bobSecret) // others are not affected
}
