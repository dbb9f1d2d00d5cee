package access

import (
	"testing"

	"github.com/berth-registry/berth/pkg/tenant"
)

// TestW20_Purge: which roles and rules give it, and what takes it.
func TestW20_Purge(t *testing.T) {
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
		"a writer":             {nil, site, as(Writer), 0},
		"an auditor":           {nil, site, as(Auditor), 0},
		"an admin":             {nil, site, as(Admin), Purge},
		"settings":             {nil, public, as(Member), 0},
		"a rule":               {[]Rule{allow(ci.Name, "a/**", Purge)}, site, ci, Purge},
		"other actions":        {[]Rule{allow(ci.Name, "**", All|Fill|Promote|Undelete|Manage)}, site, ci, 0},
		"taken from a role":    {[]Rule{deny(ci.Name, "a/b", Purge)}, site, as(Admin), 0},
		"a read-only registry": {nil, readOnly, as(Admin), Purge},
	} {
		rights := NewPolicy(1, c.rules).Rights(&c.site, c.who, office)
		if got := rights.Allowed("a/b") & Purge; got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	if got := ParseScopes([]string{"repository:a:purge"}); len(got) != 1 || got[0].Actions != 0 {
		t.Errorf("a token's scope: %v", got)
	}
}
