package access

import (
	"encoding/json"
	"testing"

	"github.com/berth-registry/berth/pkg/tenant"
)

// TestU98_PromoteAndUndelete: which roles, settings and rules give them, and what takes them.
func TestU98_PromoteAndUndelete(t *testing.T) {
	both := Promote | Undelete
	public, readOnly := site, site
	public.Settings.AnonymousPull, public.Settings.AnonymousPush = true, true
	readOnly.Settings.ReadOnly = true
	as := func(r Role) Principal {
		p := ci
		p.Role = r
		return p
	}
	for name, c := range map[string]struct {
		rules []Rule
		site  tenant.Site
		who   Principal
		want  Actions
	}{
		"a member":              {nil, site, as(Member), 0},
		"an auditor":            {nil, site, as(Auditor), 0},
		"a reader":              {nil, site, as(Reader), 0},
		"a writer":              {nil, site, as(Writer), Promote},
		"an admin":              {nil, site, as(Admin), both},
		"settings":              {nil, public, as(Member), 0},
		"a rule":                {[]Rule{allow(ci.Name, "a/**", both)}, site, ci, both},
		"a rule about others":   {[]Rule{allow(other.Name, "a/**", both)}, site, ci, 0},
		"a rule about all":      {[]Rule{allow(Authenticated, "**", Promote)}, site, ci, Promote},
		"other actions":         {[]Rule{allow(ci.Name, "**", All|Fill|Manage)}, site, ci, 0},
		"taken from a role":     {[]Rule{deny(ci.Name, "a/b", both)}, site, as(Admin), 0},
		"others are taken":      {[]Rule{deny(ci.Name, "**", All|Fill|Manage)}, site, as(Admin), both},
		"taken from another":    {[]Rule{deny(other.Name, "a/b", both)}, site, as(Admin), both},
		"taken by another rule": {[]Rule{allow(ci.Name, "a/b", both), deny("groups/ops", "**", Undelete)}, site, ci, Promote},
		"a read-only registry":  {[]Rule{allow(ci.Name, "**", both)}, readOnly, as(Admin), 0},
	} {
		rights := NewPolicy(1, c.rules).Rights(&c.site, c.who, office, "groups/ops")
		if got := rights.Allowed("a/b") & both; got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// TestU98_TokensDoNotCarryThem: a scope that asks for them asks for nothing, also by "*".
func TestU98_TokensDoNotCarryThem(t *testing.T) {
	if got := RuleActions("promote,undelete"); got != Promote|Undelete || got.String() != "promote,undelete" {
		t.Errorf("rules read %q", got)
	}
	for text, want := range map[string]Actions{"repository:a:promote,undelete": 0, "repository:a:pull,promote": Pull, "repository:a:*": All} {
		if got := ParseScopes([]string{text}); len(got) != 1 || got[0].Actions != want {
			t.Errorf("%s: %v", text, got)
		}
	}
	var claimed Actions
	if err := json.Unmarshal([]byte(`["promote","undelete","push"]`), &claimed); err != nil || claimed != Push {
		t.Errorf("a token claims %q, %v", claimed, err)
	}
	r := newRealm(t)
	admin := writer
	admin.Role = Admin
	token, err := r.issuer.Issue(rightsOf(site, admin), []Scope{Repository("a", All|Promote|Undelete)})
	if err != nil {
		t.Fatal(err)
	}
	claims, err := r.verifier.Verify(token.Raw, site)
	if err != nil {
		t.Fatal(err)
	}
	if got := claims.Allowed(rightsOf(site, admin), Repository("a", All)); got != All {
		t.Errorf("the token grants %q", got)
	}
}
