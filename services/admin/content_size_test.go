package admin

import (
	"fmt"
	"testing"
)

// TestW94_SizesOverREST of a registry, a repository and an image.
func TestW94_SizesOverREST(t *testing.T) {
	a := ruleAPI(t)
	one, two := numberedIndex(1), numberedIndex(2)
	a.pushContent("acme", "dev", "team/app", one, "v1")
	a.pushContent("acme", "dev", "team/app", two, "v2")
	a.pushContent("acme", "dev", "team/other", two, "v2")
	const dev = "/v1/tenants/acme/registries/dev"
	auditor := a.account("acme", "reads", "AUDITOR")
	for path, want := range map[string][2]int64{
		dev + ":getSize":                                      {3, one.Size + 2*two.Size},
		teamApp + ":getSize":                                  {2, one.Size + two.Size},
		teamApp + ":getSize?reference=v1":                     {1, one.Size},
		teamApp + ":getSize?reference=" + two.Digest.String(): {1, two.Size},
		"/v1/tenants/acme/registries/team-a:getSize":          {},
	} {
		got := a.callAs(auditor, 200, "GET", path, "")
		if got["manifest_count"] != fmt.Sprint(want[0]) || got["manifest_bytes"] != fmt.Sprint(want[1]) || got["blob_count"] != "0" || got["own_blob_bytes"] != "0" {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
	a.call(404, "GET", dev+"/repositories/none:getSize", "")
	a.call(404, "GET", teamApp+":getSize?reference=none", "")
	a.call(404, "GET", "/v1/tenants/acme/registries/none:getSize", "")
	a.call(400, "GET", teamApp+":getSize?reference=sha256:short", "")
	a.callAs(a.account("acme", "pulls", "READER"), 403, "GET", teamApp+":getSize", "")
}
