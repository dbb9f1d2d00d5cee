package admin

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
)

// numberedIndex is one of many manifests that hold nothing.
func numberedIndex(n int) ocitest.Content {
	return ocitest.Extra{Annotations: map[string]string{"n": fmt.Sprint(n)}}.Index()
}

const teamApp = "/v1/tenants/acme/registries/dev/repositories/team/app"

// deletedIn lists the trash of a repository in pages.
func (a *api) deletedIn(token, repository string, size int) []map[string]any {
	a.t.Helper()
	var all []map[string]any
	for next := ""; ; {
		page := a.callAs(token, 200, "GET", fmt.Sprintf("%s:listDeletedManifests?page_size=%d&page_token=%s", repository, size, url.QueryEscape(next)), "")
		for _, m := range page["deleted_manifests"].([]any) {
			all = append(all, m.(map[string]any))
		}
		if next = page["next_page_token"].(string); next == "" {
			return all
		}
	}
}

// TestW11_DeletedManifestsOverREST lists what was deleted, restores it, and is told what
// cannot be restored and why.
func TestW11_DeletedManifestsOverREST(t *testing.T) {
	a, wait := newDeletions(t, 24*time.Hour)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	a.call(200, "POST", "/v1/tenants/acme/registries?registry_id=dev", "")
	var repo meta.Repo
	var digests []string
	for i := range 3 {
		m := numberedIndex(i)
		repo = a.pushContent("acme", "dev", "team/app", m, fmt.Sprint("v", i), fmt.Sprint("w", i))
		a.delete(repo, m.Digest)
		digests = append(digests, m.Digest.String())
	}
	slices.Sort(digests)
	gone := a.deletedIn(operatorToken, teamApp, 2)
	var listed []string
	for _, m := range gone {
		listed = append(listed, m["digest"].(string))
		if m["actor"] != "serviceAccounts/ci" || len(m["tags"].([]any)) != 2 || m["media_type"] != numberedIndex(0).MediaType ||
			m["size_bytes"] == "0" || m["subject"] != "" || m["delete_time"] == nil || m["expire_time"] == nil {
			t.Errorf("%v", m)
		}
	}
	if !slices.Equal(listed, digests) {
		t.Errorf("deleted are %q, want %q", listed, digests)
	}
	first, undelete := gone[0], func(want int, body string) string {
		t.Helper()
		return fmt.Sprint(a.call(want, "POST", teamApp+":undeleteManifest", body))
	}
	digest := fmt.Sprintf(`"digest": %q`, first["digest"])
	tag := fmt.Sprint(first["tags"].([]any)[0])
	other := a.pushContent("acme", "dev", "team/app", numberedIndex(7), tag)
	if got := undelete(409, "{"+digest+"}"); !strings.Contains(got, tag+" points to another manifest by now; name other tags") || !strings.Contains(got, "ALREADY_EXISTS") {
		t.Errorf("of a tag that was taken: %s", got)
	}
	undelete(409, "{"+digest+`, "validate_only": true}`)
	undelete(200, "{"+digest+`, "tags": ["free"], "validate_only": true}`)
	a.call(200, "GET", teamApp, "")
	if n := len(a.deletedIn(operatorToken, teamApp, 9)); n != 3 {
		t.Errorf("%d are in the trash after what was only validated", n)
	}
	undelete(200, "{"+digest+`, "tags": ["free"]}`)
	event := a.call(200, "GET", "/v1/tenants/acme/events?page_size=1", "")["events"].([]any)[0].(map[string]any)
	if event["verb"] != "manifest.undelete" || event["actor"] != "operator" || !strings.HasSuffix(event["target"].(string), "team/app:free@"+first["digest"].(string)) {
		t.Errorf("the event is %v", event)
	}
	if got := undelete(404, "{"+digest+"}"); !strings.Contains(got, "is not in the trash of this repository") || !strings.Contains(got, "MANIFEST_UNKNOWN") {
		t.Errorf("of what was restored: %s", got)
	}
	if tags := fmt.Sprint(a.call(200, "GET", teamApp+":listTags", "")["tags"]); tags != fmt.Sprintf("[free %s]", tag) {
		t.Errorf("the tags are %s", tags)
	}
	for field, body := range map[string]string{
		"digest":   `{"digest": "sha256:0a"}`,
		"digest ":  `{}`,
		"tags[1]":  "{" + digest + `, "tags": ["a", "-"]}`,
		"tags":     "{" + digest + `, "tags": ` + many(501, "t%d") + "}",
		"untagged": "{" + digest + `, "tags": ["a"], "untagged": true}`,
	} {
		if got := undelete(400, body); !strings.Contains(got, "field:"+strings.TrimSpace(field)+" ") {
			t.Errorf("%s: %s", field, got)
		}
	}
	undelete(200, fmt.Sprintf(`{"digest": %q, "untagged": true}`, gone[1]["digest"]))
	event = a.call(200, "GET", "/v1/tenants/acme/events?page_size=1", "")["events"].([]any)[0].(map[string]any)
	if tags := fmt.Sprint(a.call(200, "GET", teamApp+":listTags", "")["tags"]); tags != fmt.Sprintf("[free %s]", tag) ||
		!strings.HasSuffix(event["target"].(string), "team/app@"+fmt.Sprint(gone[1]["digest"])) {
		t.Errorf("the tags are %s, the event is %v", tags, event)
	}
	a.call(404, "POST", "/v1/tenants/acme/registries/dev/repositories/none:undeleteManifest", "{"+digest+"}")
	a.call(404, "GET", "/v1/tenants/acme/registries/dev/repositories/none:listDeletedManifests", "")
	a.call(400, "GET", teamApp+":listDeletedManifests?page_token=x", "")

	// An index whose child is gone for good.
	child := numberedIndex(8)
	index := ocitest.Index(child)
	a.pushContent("acme", "dev", "team/app", child)
	a.pushContent("acme", "dev", "team/app", index)
	wait(time.Hour)
	a.delete(other, index.Digest)
	wait(-time.Hour) // the child was deleted before
	a.delete(other, child.Digest)
	wait(24*time.Hour + time.Minute)
	if got := undelete(404, fmt.Sprintf(`{"digest": %q}`, index.Digest)); !strings.Contains(got, "it held "+child.Digest.String()+", which this repository no longer has; push it") {
		t.Errorf("of an index without its child: %s", got)
	}
}

// TestW12_UndeleteIsARight: the role ADMIN has it, rules give and take it, and no other right
// gives it. What a caller may not see, it is not told of.
func TestW12_UndeleteIsARight(t *testing.T) {
	a := ruleAPI(t)
	m := numberedIndex(0)
	for _, name := range []string{"team/app", "other"} {
		a.delete(a.pushContent("acme", "dev", name, m, "v1"), m.Digest)
	}
	body := fmt.Sprintf(`{"digest": %q, "validate_only": true}`, m.Digest)
	calls := map[string]string{":undeleteManifest": body, ":undeleteTag": `{"tag": "v1", "validate_only": true}`}
	tries := func(token string, want int, repository string) {
		t.Helper()
		for call, body := range calls {
			a.callAs(token, want, "POST", "/v1/tenants/acme/registries/dev/repositories/"+repository+call, body)
		}
	}
	for id, role := range map[string]string{"writer": "WRITER", "reader": "READER", "auditor": "AUDITOR", "member": "MEMBER"} {
		token := a.account("acme", id, role)
		tries(token, 403, "team/app")
		tries(token, 403, "none")
		if want := map[string]int{"MEMBER": 404}[role]; want != 0 {
			a.callAs(token, want, "GET", teamApp+":listDeletedManifests", "")
		} else {
			a.callAs(token, 200, "GET", teamApp+":listDeletedManifests", "")
		}
	}
	keeper := a.account("acme", "keeper", "MEMBER")
	a.rule("acme", "keeper", `"repositories": ["**"], "actions": ["PULL", "PUSH", "DELETE", "ADMIN"]`)
	tries(keeper, 403, "team/app")
	undo := a.account("acme", "undo", "MEMBER")
	a.rule("acme", "undo", `"repositories": ["team/**"], "actions": ["UNDELETE"]`)
	tries(undo, 200, "team/app")
	tries(undo, 404, "team/none")
	tries(undo, 403, "other")
	a.callAs(undo, 404, "GET", teamApp+":listDeletedManifests", "") // that is for those who may pull
	a.callAs(undo, 403, "POST", teamApp+":undeleteTag", `{"tag": "v1", "override_tag_rules": true}`)
	admin, evil := a.account("acme", "boss", "ADMIN"), a.account("other", "boss", "ADMIN")
	tries(admin, 200, "other")
	tries(evil, 403, "team/app")
	a.call(200, "POST", ofRules+"?access_rule_id=kept", `{"effect": "DENY", "principals": ["authenticated"], "repositories": ["other"], "actions": ["UNDELETE"]}`)
	tries(admin, 403, "other")
	tries(admin, 200, "team/app")
	tries(operatorToken, 200, "other")
}

// TestW13_NothingIsRestoredWhereNothingIsWritten: in a registry that is read-only or deleted.
func TestW13_NothingIsRestoredWhereNothingIsWritten(t *testing.T) {
	a, _ := newDeletions(t, 24*time.Hour)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	a.call(200, "POST", "/v1/tenants/acme/registries?registry_id=dev", `{"read_only": true}`)
	m := numberedIndex(0)
	a.delete(a.pushContent("acme", "dev", "team/app", m, "v1"), m.Digest)
	admin := a.account("acme", "boss", "ADMIN")
	const dev = "/v1/tenants/acme/registries/dev"
	tries := func(token string, want int) string {
		t.Helper()
		return fmt.Sprint(
			a.callAs(token, want, "POST", teamApp+":undeleteManifest", fmt.Sprintf(`{"digest": %q}`, m.Digest)),
			a.callAs(token, want, "POST", teamApp+":undeleteTag", `{"tag": "v1"}`))
	}
	for _, token := range []string{admin, operatorToken} {
		if got := tries(token, 403); strings.Count(got, `registry "dev" is read-only; set its read_only to false`) != 2 {
			t.Errorf("where it is read-only: %s", got)
		}
	}
	a.callAs(admin, 200, "GET", teamApp+":listDeletedManifests", "")
	a.call(200, "PATCH", dev, `{"read_only": false}`)
	a.call(200, "DELETE", dev+"?force=true", "")
	tries(admin, 404)
	a.callAs(admin, 404, "GET", teamApp+":listDeletedManifests", "")
	a.call(200, "POST", dev+":undelete", "{}")
	a.call(200, "POST", "/v1/tenants/acme:suspend", "{}")
	tries(admin, 401)
	a.call(200, "POST", "/v1/tenants/acme:resume", "{}")
	a.callAs(admin, 200, "POST", teamApp+":undeleteTag", `{"tag": "v1"}`)
	if tags := fmt.Sprint(a.call(200, "GET", teamApp+":listTags", "")["tags"]); tags != "[v1]" {
		t.Errorf("the tags are %s", tags)
	}
}

// TestW14_TagsAreRestoredOverREST by what they were, by version and by digest.
func TestW14_TagsAreRestoredOverREST(t *testing.T) {
	a := ruleAPI(t)
	one, two := numberedIndex(1), numberedIndex(2)
	a.pushContent("acme", "dev", "team/app", one, "v1")
	a.pushContent("acme", "dev", "team/app", two, "v1")
	admin := a.account("acme", "boss", "ADMIN")
	undelete := func(want int, body string) map[string]any {
		t.Helper()
		return a.callAs(admin, want, "POST", teamApp+":undeleteTag", body)
	}
	undelete(200, `{"tag": "v1", "validate_only": true}`)
	if got := undelete(200, `{"tag": "v1"}`); got["digest"] != one.Digest.String() {
		t.Errorf("v1 is %v", got)
	}
	if got := fmt.Sprint(undelete(409, `{"tag": "v1"}`)); !strings.Contains(got, "the last change of tag v1 was an undelete") {
		t.Errorf("again: %s", got)
	}
	changes := a.call(200, "GET", teamApp+":listTagHistory?tag=v1", "")["changes"].([]any)
	last, pushed := changes[0].(map[string]any), changes[1].(map[string]any)
	if last["verb"] != "UNDELETE" || last["actor"] != "serviceAccounts/boss" || last["previous_digest"] != two.Digest.String() {
		t.Errorf("the last change is %v", last)
	}
	if got := undelete(200, fmt.Sprintf(`{"tag": "v1", "version": %q}`, pushed["version"])); got["digest"] != two.Digest.String() {
		t.Errorf("v1 is %v", got)
	}
	a.call(200, "POST", ofTagRules+"?tag_rule_id=all", `{"tags": ["v*"], "no_overwrite": true}`)
	back := fmt.Sprintf(`{"tag": "v1", "digest": %q`, one.Digest)
	if got := fmt.Sprint(undelete(403, back+"}")); !strings.Contains(got, "tag v1 is protected by tag rule all (no overwrite)") {
		t.Errorf("of a protected one: %s", got)
	}
	undelete(200, back+`, "override_tag_rules": true}`)
	undelete(400, back+`, "version": "1"}`)
	undelete(400, `{"tag": "-"}`)
	undelete(400, `{"tag": "v1", "digest": "x"}`)
	undelete(404, `{"tag": "v2"}`)
	undelete(404, fmt.Sprintf(`{"tag": "v1", "digest": %q}`, numberedIndex(3).Digest))
}
