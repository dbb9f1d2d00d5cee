package admin

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// repositoriesOf lists repositories in pages, with the state and the time of the deletion.
func (a *api) repositoriesOf(token, registry, query string, size int) []string {
	a.t.Helper()
	var all []string
	for next := ""; ; {
		page := a.callAs(token, 200, "GET", fmt.Sprintf("%s/repositories?page_size=%d&page_token=%s%s", registry, size, url.QueryEscape(next), query), "")
		rows := page["repositories"].([]any)
		if len(rows) > size {
			a.t.Errorf("a page of %d has %d", size, len(rows))
		}
		for _, one := range rows {
			r := one.(map[string]any)
			_, name, _ := strings.Cut(r["name"].(string), "/repositories/")
			if (r["delete_time"] != nil) != (r["state"] == "DELETED") || (r["expire_time"] != nil) != (r["state"] == "DELETED") {
				a.t.Errorf("%v", r)
			}
			all = append(all, name+" "+r["state"].(string))
		}
		if next = page["next_page_token"].(string); next == "" {
			return all
		}
	}
}

// TestW42_UndeleteRepositoriesOverREST deletes repositories, lists them and restores them,
// also where the name is taken.
func TestW42_UndeleteRepositoriesOverREST(t *testing.T) {
	a, wait := newDeletions(t, 24*time.Hour)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	a.call(200, "POST", "/v1/tenants/acme/registries?registry_id=dev", "")
	const dev = "/v1/tenants/acme/registries/dev"
	const app = dev + "/repositories/team/app"
	secret := a.account("acme", "boss", "ADMIN")
	a.push("acme", "dev", "team/app", "v1")
	a.push("acme", "dev", "team/app-x", "v1")
	if got := a.callAs(secret, 200, "GET", app, ""); got["state"] != "ACTIVE" {
		t.Errorf("%v", got)
	}
	a.callAs(secret, 404, "POST", app+":undelete", "")
	a.callAs(secret, 200, "DELETE", app, "")
	a.callAs(secret, 404, "GET", app, "")

	a.callAs(secret, 200, "POST", app+":undelete", `{"validate_only": true}`)
	a.callAs(secret, 404, "GET", app, "")
	if back := a.callAs(secret, 200, "POST", app+":undelete", ""); back["state"] != "ACTIVE" || back["tag_count"] != "1" || back["expire_time"] != nil {
		t.Errorf("came back as %v", back)
	}
	a.callAs(secret, 404, "POST", app+":undelete", "")

	// Another one has the name, and other deleted ones.
	a.callAs(secret, 200, "DELETE", app, "")
	wait(time.Minute)
	a.push("acme", "dev", "team/app", "v2")
	a.callAs(secret, 200, "DELETE", app, "")
	a.push("acme", "dev", "team/app", "v3")
	if got := a.callAs(secret, 409, "POST", app+":undelete", ""); reason(t, got) != "ALREADY_EXISTS" {
		t.Errorf("the name is taken: %v", got)
	}
	want := []string{"team/app ACTIVE", "team/app DELETED", "team/app DELETED", "team/app-x ACTIVE"}
	for size := range 4 {
		if got := a.repositoriesOf(secret, dev, "&show_deleted=true", size+1); !slices.Equal(got, want) {
			t.Errorf("listed %q", got)
		}
		backwards := slices.Clone(want)
		slices.Reverse(backwards)
		if got := a.repositoriesOf(secret, dev, "&show_deleted=true&order_by=name+desc", size+1); !slices.Equal(got, backwards) {
			t.Errorf("listed backwards %q", got)
		}
		if got := a.repositoriesOf(secret, dev, `&show_deleted=true&filter=name="team/app"`, size+1); !slices.Equal(got, want[:3]) {
			t.Errorf("filtered %q", got)
		}
	}
	if got := a.repositoriesOf(secret, dev, `&show_deleted=true&filter=name:"-x"`, 9); !slices.Equal(got, want[3:]) {
		t.Errorf("filtered %q", got)
	}
	if got := a.repositoriesOf(secret, dev, "", 9); !slices.Equal(got, []string{want[0], want[3]}) {
		t.Errorf("without deleted ones %q", got)
	}
	first := a.callAs(secret, 200, "GET", dev+"/repositories?show_deleted=true&filter=name%3D%22team/app%22", "")["repositories"].([]any)[1].(map[string]any)
	a.callAs(secret, 400, "POST", app+":undelete", `{"restore_as": "Team/Old"}`)
	a.callAs(secret, 400, "POST", app+":undelete", `{"delete_time": "yesterday"}`)
	a.callAs(secret, 404, "POST", app+":undelete", `{"delete_time": "2020-01-02T03:04:05Z", "restore_as": "team/old"}`)
	back := a.callAs(secret, 200, "POST", app+":undelete", fmt.Sprintf(`{"delete_time": %q, "restore_as": "team/old"}`, first["delete_time"]))
	if back["name"] != "tenants/acme/registries/dev/repositories/team/old" {
		t.Errorf("came back as %v", back)
	}
	if tags := a.callAs(secret, 200, "GET", dev+"/repositories/team/old:listTags", "")["tags"].([]any); len(tags) != 1 || tags[0] != "v1" {
		t.Errorf("the first one has %v", tags)
	}
	events := a.callAs(secret, 200, "GET", "/v1/tenants/acme/events?page_size=1", "")["events"].([]any)
	if e := events[0].(map[string]any); e["verb"] != "repository.undelete" || e["target"] != "registries/dev/repositories/team/old" || e["actor"] != "serviceAccounts/boss" || len(e["changes"].([]any)) != 2 {
		t.Errorf("%v", e)
	}

	a.call(200, "PATCH", dev, `{"read_only": true}`)
	a.callAs(secret, 403, "POST", app+":undelete", `{"restore_as": "team/other"}`)
	a.call(200, "PATCH", dev, `{"read_only": false}`)
	wait(24 * time.Hour)
	a.callAs(secret, 404, "POST", app+":undelete", `{"restore_as": "team/other"}`)
}

// TestU98_RestoreANameThatOnesRuleCovers: the action UNDELETE is needed of the name that a
// repository had, and of the one that it gets.
func TestU98_RestoreANameThatOnesRuleCovers(t *testing.T) {
	a, _ := newDeletions(t, 24*time.Hour)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	a.call(200, "POST", "/v1/tenants/acme/registries?registry_id=dev", "")
	const dev = "/v1/tenants/acme/registries/dev/repositories/"
	keeper := a.account("acme", "keeper", "MEMBER")
	a.rule("acme", "keeper", `"registries": ["dev"], "repositories": ["team/**"], "actions": ["UNDELETE"]`)
	for _, name := range []string{"team/app", "other/app"} {
		a.push("acme", "dev", name, "v1")
		a.call(200, "DELETE", dev+name, "")
	}
	a.callAs(keeper, 403, "POST", dev+"other/app:undelete", "")
	a.callAs(keeper, 403, "POST", dev+"other/app:undelete", `{"restore_as": "team/other"}`)
	a.callAs(keeper, 403, "POST", dev+"team/app:undelete", `{"restore_as": "other/app"}`)
	a.callAs(keeper, 200, "POST", dev+"team/app:undelete", `{"restore_as": "team/old"}`)
	if got := a.repositoriesOf(operatorToken, "/v1/tenants/acme/registries/dev", "&show_deleted=true", 9); !slices.Equal(got, []string{"other/app DELETED", "team/old ACTIVE"}) {
		t.Errorf("listed %q", got)
	}
}
