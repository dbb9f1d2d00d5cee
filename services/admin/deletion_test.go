package admin

import (
	"crypto/sha256"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/sqlitemeta"
)

// newDeletions starts a service on a store whose deletions can be taken back for
// the given time, and moves the store's clock.
func newDeletions(t *testing.T, undelete time.Duration) (*api, func(time.Duration)) {
	t.Helper()
	life := meta.DefaultLifetimes
	life.Undelete = undelete
	start, passed := time.Now(), new(atomic.Int64)
	store, err := sqlitemeta.Open(t.Context(), sqlitemeta.Options{Dir: t.TempDir(), Lifetimes: life, Now: func() time.Time {
		return start.Add(time.Duration(passed.Load()))
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	a := serveAPI(t, store, func(c *Config, _ *Options) { c.Lifetimes = life })
	return a, func(d time.Duration) {
		passed.Add(int64(d))
		for {
			n, err := store.PurgeDeleted(t.Context(), 100)
			if err != nil {
				t.Fatal(err)
			}
			if n == 0 {
				return
			}
		}
	}
}

func TestL1_ContentIsDeletedWithForceOnly(t *testing.T) {
	a, _ := newDeletions(t, 24*time.Hour)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	a.call(200, "POST", "/v1/tenants/acme/registries?registry_id=dev", "")
	a.push("acme", "dev", "app", "v1", "v2")
	a.push("acme", "main", "lib", "v1")
	for path, want := range map[string]string{
		"/v1/tenants/acme/registries/dev": `registry "dev" holds 1 repository, 1 manifest and 2 tags, 0 bytes; to delete it with them, repeat the request with force=true. It can be taken back until `,
		"/v1/tenants/acme":                `tenant "acme" holds 2 repositories, 2 manifests and 3 tags, 0 bytes; to delete it with them, repeat the request with force=true. It can be taken back until `,
	} {
		before := a.call(200, "GET", path, "")
		for _, query := range []string{"", "?validate_only=true", "?force=false", "?allow_missing=true"} {
			got := a.call(400, "DELETE", path+query, "")
			if reason(t, got) != "NOT_EMPTY" || !strings.HasPrefix(got["message"].(string), want) || !strings.Contains(got["message"].(string), "Its name stays reserved until 20") {
				t.Errorf("%s%s: %v", path, query, got)
			}
			info := got["details"].([]any)[0].(map[string]any)["metadata"].(map[string]any)
			if info["manifests"] == "0" || info["name_reserved_until"] == "" || info["expire_time"] == "" {
				t.Errorf("%s%s: %v", path, query, info)
			}
		}
		would := a.call(200, "DELETE", path+"?validate_only=true&force=true", "")
		if c := would["content"].(map[string]any); c["manifests"] == "0" || c["at_least"] != false || would["expire_time"] == nil || would["name_reserved_until"] == nil {
			t.Errorf("%s would go with %v", path, would)
		}
		if after := a.call(200, "GET", path, ""); after["etag"] != before["etag"] {
			t.Errorf("%s is %v, was %v", path, after, before)
		}
		a.call(409, "DELETE", path+"?force=true&etag=4711", "")
	}
	went := a.call(200, "DELETE", "/v1/tenants/acme/registries/dev?force=true", "")
	if c := went["content"].(map[string]any); c["repositories"] != "1" || c["tags"] != "2" || went["expire_time"] != went["name_reserved_until"] {
		t.Errorf("went with %v", went)
	}
	went = a.call(200, "DELETE", "/v1/tenants/acme?force=true", "")
	if c := went["content"].(map[string]any); c["repositories"] != "1" || went["expire_time"] == went["name_reserved_until"] {
		t.Errorf("went with %v", went)
	}
	if got := a.call(200, "DELETE", "/v1/tenants/acme?allow_missing=true", ""); got["content"] != nil {
		t.Errorf("what is missing went with %v", got)
	}
}

func TestL3_UndeleteOverREST(t *testing.T) {
	a, wait := newDeletions(t, 24*time.Hour)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	a.call(200, "POST", "/v1/tenants/acme/registries?registry_id=dev", `{"anonymous_pull": true}`)
	a.call(200, "POST", "/v1/tenants/acme/domains?domain_id=r.acme.example", `{"registry": "dev"}`)
	secret := a.account("acme", "boss", "ADMIN")
	a.push("acme", "dev", "app", "v1")
	dev := "/v1/tenants/acme/registries/dev"

	a.callAs(secret, 200, "DELETE", dev+"?force=true", "")
	gone := a.callAs(secret, 200, "GET", dev, "")
	if gone["state"] != "DELETED" || gone["delete_time"] == nil || gone["expire_time"] == nil || len(gone["hosts"].([]any)) != 0 {
		t.Errorf("deleted: %v", gone)
	}
	count := func(query string) int {
		return len(a.callAs(secret, 200, "GET", "/v1/tenants/acme/registries"+query, "")["registries"].([]any))
	}
	if without, with := count(""), count("?show_deleted=true"); without != 1 || with != 2 {
		t.Errorf("%d registries, %d with deleted ones", without, with)
	}
	first := a.callAs(secret, 200, "GET", "/v1/tenants/acme/registries?show_deleted=true&page_size=1", "")
	a.callAs(secret, 400, "GET", "/v1/tenants/acme/registries?page_token="+first["next_page_token"].(string), "")
	a.callAs(secret, 404, "PATCH", dev, `{"read_only": true}`)
	a.callAs(secret, 404, "GET", dev+"/repositories/app", "")
	if got := a.callAs(secret, 409, "POST", "/v1/tenants/acme/registries?registry_id=dev&validate_only=true", ""); reason(t, got) != "ALREADY_EXISTS" {
		t.Errorf("made beside it: %v", got)
	}
	a.callAs(secret, 409, "POST", dev+":undelete", `{"etag": "4711"}`)
	a.callAs(secret, 200, "POST", dev+":undelete", `{"validate_only": true}`)
	back := a.callAs(secret, 200, "POST", dev+":undelete", `{"etag": "`+gone["etag"].(string)+`"}`)
	if back["state"] != "ACTIVE" || back["anonymous_pull"] != true || len(back["hosts"].([]any)) != 2 || back["expire_time"] != nil {
		t.Errorf("came back as %v", back)
	}
	a.callAs(secret, 409, "POST", dev+":undelete", "")
	a.callAs(secret, 200, "GET", dev+"/repositories/app", "")

	a.callAs(secret, 403, "DELETE", "/v1/tenants/acme?force=true", "")
	a.call(200, "DELETE", "/v1/tenants/acme?force=true", "")
	a.callAs(secret, 401, "GET", dev, "")
	a.callAs(secret, 401, "POST", "/v1/tenants/acme:undelete", "")
	gone = a.call(200, "GET", "/v1/tenants/acme", "")
	if gone["state"] != "DELETED" || gone["expire_time"] == nil {
		t.Errorf("deleted: %v", gone)
	}
	a.call(404, "GET", dev, "")
	a.call(404, "PATCH", "/v1/tenants/acme", `{"quota_bytes": 1}`)
	if got := a.call(409, "POST", "/v1/tenants?tenant_id=acme&validate_only=true", ""); reason(t, got) != "NAME_QUARANTINED" {
		t.Errorf("made beside it: %v", got)
	}
	a.call(200, "POST", "/v1/tenants/acme:undelete", `{"validate_only": true}`)
	if back := a.call(200, "POST", "/v1/tenants/acme:undelete", ""); back["state"] != "ACTIVE" {
		t.Errorf("came back as %v", back)
	}
	a.call(409, "POST", "/v1/tenants/acme:undelete", "")
	a.call(404, "POST", "/v1/tenants/other:undelete", "")
	a.callAs(secret, 200, "GET", dev+"/repositories/app", "")

	a.callAs(secret, 200, "DELETE", dev+"?force=true", "")
	wait(24 * time.Hour)
	a.callAs(secret, 404, "GET", dev, "")
	a.callAs(secret, 404, "POST", dev+":undelete", "")
	a.callAs(secret, 200, "POST", "/v1/tenants/acme/registries?registry_id=dev", "")
}

func TestL7_EventsOfDeletedTenantsStayReadable(t *testing.T) {
	a, wait := newDeletions(t, 24*time.Hour)
	uid := a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")["uid"].(string)
	other := a.account("acme", "boss", "ADMIN")
	a.push("acme", "main", "app", "v1")
	verbs := func(parent string) string {
		var out []string
		for _, e := range a.call(200, "GET", "/v1/tenants/"+parent+"/events", "")["events"].([]any) {
			out = append(out, e.(map[string]any)["verb"].(string))
		}
		return strings.Join(out, " ")
	}
	all := verbs("acme")
	a.call(200, "DELETE", "/v1/tenants/acme?force=true", "")
	if got := verbs("acme"); got != "tenant.delete "+all {
		t.Errorf("of the deleted one: %s", got)
	}
	wait(24 * time.Hour)
	for _, parent := range []string{"acme", uid} {
		if got := verbs(parent); got != "tenant.delete "+all {
			t.Errorf("of %s, which is gone: %s", parent, got)
		}
	}
	a.callAs(other, 401, "GET", "/v1/tenants/"+uid+"/events", "")
	a.call(404, "GET", "/v1/tenants/acme", "")
	if got := a.call(200, "GET", "/v1/tenants/"+uid, ""); got["state"] != "PURGED" || got["name"] != "tenants/acme" || got["expire_time"] != nil {
		t.Errorf("by uid: %v", got)
	}
	a.call(404, "POST", "/v1/tenants/acme:undelete", "")
	wait(30 * 24 * time.Hour)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	boss := a.account("acme", "boss", "ADMIN")
	if got := verbs("acme"); strings.Contains(got, "delete") {
		t.Errorf("the next of that name: %s", got)
	}
	if got := verbs(uid); got != "tenant.delete "+all {
		t.Errorf("by uid: %s", got)
	}
	for _, name := range []string{uid, "4711", "0", "-1"} { // the new tenant's admin learns nothing of the old one
		a.callAs(boss, 403, "GET", "/v1/tenants/"+name+"/events", "")
		a.callAs(boss, 403, "GET", "/v1/tenants/"+name, "")
	}
	a.call(404, "GET", "/v1/tenants/4711/events", "")
	var listed []string
	for token := ""; ; {
		page := a.call(200, "GET", "/v1/tenants?show_deleted=true&page_size=1&page_token="+token, "")
		m := page["tenants"].([]any)[0].(map[string]any)
		listed = append(listed, m["uid"].(string)+" "+m["state"].(string))
		if token = page["next_page_token"].(string); token == "" {
			break
		}
	}
	if len(listed) != 2 || listed[0] != uid+" PURGED" || !strings.HasSuffix(listed[1], " ACTIVE") {
		t.Errorf("listed %v", listed)
	}
	if got := a.call(200, "GET", "/v1/tenants", "")["tenants"].([]any); len(got) != 1 {
		t.Errorf("without deleted ones: %v", got)
	}
}

func TestL9_SeedBringsBackWhatItNames(t *testing.T) {
	a, wait := newDeletions(t, 24*time.Hour)
	file := filepath.Join(t.TempDir(), "seed.yaml")
	text := "tenants:\n- id: acme\n  registries:\n  - {id: dev, upstream_group: chain}\n  upstream_groups:\n  - id: chain\n    members: [{registry: main}]\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	apply := func() {
		t.Helper()
		if err := a.service.Apply(t.Context(), file); err != nil {
			t.Fatal(err)
		}
	}
	apply()
	a.push("acme", "dev", "app", "v1")
	a.call(200, "DELETE", "/v1/tenants/acme/registries/dev?force=true", "")
	a.call(200, "DELETE", "/v1/tenants/acme/upstreamGroups/chain", "")
	apply()
	a.call(200, "GET", "/v1/tenants/acme/registries/dev/repositories/app", "")
	if got := a.call(200, "GET", "/v1/tenants/acme/registries/dev", ""); got["upstream_group"] != "chain" || got["state"] != "ACTIVE" {
		t.Errorf("came back as %v", got)
	}
	a.call(200, "DELETE", "/v1/tenants/acme?force=true", "")
	apply()
	a.call(200, "GET", "/v1/tenants/acme/registries/dev/repositories/app", "")
	a.call(200, "DELETE", "/v1/tenants/acme?force=true", "")
	wait(24 * time.Hour)
	if err := a.service.Apply(t.Context(), file); err == nil || !strings.Contains(err.Error(), `tenant "acme" was deleted`) {
		t.Errorf("what cannot come back: %v", err)
	}
}

func TestL10_NoWindowRemovesAtOnce(t *testing.T) {
	a, wait := newDeletions(t, 0)
	uid := a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")["uid"].(string)
	a.call(200, "POST", "/v1/tenants/acme/registries?registry_id=dev", "")
	a.call(200, "POST", "/v1/tenants/acme/domains?domain_id=r.acme.example", `{"registry": "dev"}`)
	a.push("acme", "dev", "app", "v1")
	if got := a.call(400, "DELETE", "/v1/tenants/acme/registries/dev", ""); !strings.Contains(got["message"].(string), "It cannot be taken back. ") {
		t.Errorf("refused: %v", got)
	}
	if got := a.call(200, "DELETE", "/v1/tenants/acme/registries/dev?force=true", ""); got["expire_time"] != nil || got["name_reserved_until"] == nil {
		t.Errorf("went with %v", got)
	}
	a.call(404, "GET", "/v1/tenants/acme/registries/dev", "")
	a.call(404, "POST", "/v1/tenants/acme/registries/dev:undelete", "")
	a.call(200, "POST", "/v1/tenants/acme/domains?domain_id=r.acme.example", `{"registry": "main"}`)
	wait(0)
	a.call(200, "POST", "/v1/tenants/acme/registries?registry_id=dev", "")
	a.call(200, "DELETE", "/v1/tenants/acme", "")
	a.call(404, "POST", "/v1/tenants/acme:undelete", "")
	if got := a.call(200, "GET", "/v1/tenants/"+uid, ""); got["state"] != "PURGED" {
		t.Errorf("by uid: %v", got)
	}
}

// A tenant may not verify, by a record that any name could have, what the
// operator gave it and it lost.
func TestL5_OperatorsDomainThatLostItsHost(t *testing.T) {
	a, _ := newDeletions(t, 24*time.Hour)
	for _, slug := range []string{"acme", "other"} {
		a.call(200, "POST", "/v1/tenants?tenant_id="+slug, "")
	}
	secret := a.account("acme", "boss", "ADMIN")
	domain := "/v1/tenants/acme/domains/r.example"
	a.call(200, "POST", "/v1/tenants/acme/domains?domain_id=r.example", `{"registry": "main"}`)
	a.call(200, "DELETE", "/v1/tenants/acme", "")
	a.call(200, "POST", "/v1/tenants/other/domains?domain_id=r.example", `{"registry": "main"}`)
	a.call(200, "POST", "/v1/tenants/acme:undelete", "")
	if got := a.call(200, "GET", domain, ""); got["verified"] != false || got["txt_name"] != "" {
		t.Errorf("came back as %v", got)
	}
	if got := a.callAs(secret, 400, "POST", domain+":verify", ""); reason(t, got) != "DOMAIN_RECORD_MISSING" {
		t.Errorf("verified by a tenant: %v", got)
	}
	a.call(409, "POST", domain+":verify", "")
}

// A key that someone uses while its tenant is deleted and comes back works as
// soon as it is back.
func TestL2_KeysAreNoGoodMeanwhile(t *testing.T) {
	a, _ := newDeletions(t, 24*time.Hour)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	tn, err := a.store.FindTenant(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	secret := a.account("acme", "boss", "ADMIN")
	hash := sha256.Sum256([]byte(secret))
	op := meta.Cause{Op: uuid.New(), Actor: "operator"}
	for range 2 { // a repeated request counts once
		if err := a.store.DeleteTenant(t.Context(), op, "acme", tn.Version, false); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.store.FindAccountByKey(t.Context(), tn.ID, "boss", hash); err == nil {
		t.Error("the key of a deleted tenant is good")
	}
	a.call(200, "POST", "/v1/tenants/acme:undelete", "")
	back, err := a.store.FindTenant(t.Context(), "acme")
	if err != nil || back.Epoch != tn.Epoch+1 {
		t.Errorf("came back as %+v, %v; the epoch was %d", back, err, tn.Epoch)
	}
	a.callAs(secret, 200, "GET", "/v1/tenants/acme", "")
}

// The operator is told that a tenant is deleted and how to bring it back; others get
// the answer for a tenant that does not exist.
func TestADeletedTenantIsToldToTheOperator(t *testing.T) {
	a, _ := newDeletions(t, time.Hour)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	a.call(200, "POST", "/v1/tenants?tenant_id=other", "")
	other := a.account("other", "admin", "ADMIN")
	a.call(200, "DELETE", "/v1/tenants/acme", "")
	for _, c := range [][3]string{
		{"PATCH", "/v1/tenants/acme", `{"display_name": "Acme"}`},
		{"GET", "/v1/tenants/acme/registries", ""},
		{"PATCH", "/v1/tenants/acme/registries/main", `{"read_only": true}`},
	} {
		m := a.call(404, c[0], c[1], c[2])
		if text := m["message"].(string); !strings.Contains(text, `tenant "acme" is deleted`) || !strings.Contains(text, "POST /v1/tenants/acme:undelete") {
			t.Errorf("%s %s: %q", c[0], c[1], text)
		}
	}
	deleted := a.callAs(other, 403, "GET", "/v1/tenants/acme/registries", "")
	if missing := a.callAs(other, 403, "GET", "/v1/tenants/none/registries", ""); deleted["message"] != missing["message"] {
		t.Errorf("another's admin is told %v and %v", deleted, missing)
	}
}

func TestAPatchOfOutputOnlyFieldsIsRefused(t *testing.T) {
	a := newAPI(t)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	m := a.call(400, "PATCH", "/v1/tenants/acme", `{"state": "SUSPENDED"}`)
	if text := m["message"].(string); !strings.HasPrefix(text, "state: this field is output only") {
		t.Errorf("%q", text)
	}
	a.call(400, "PATCH", "/v1/tenants/acme/registries/main?update_mask=hosts", `{"hosts": ["x.example"], "read_only": true}`)
	// What was read can be sent back.
	read := a.call(200, "GET", "/v1/tenants/acme", "")
	text, err := json.Marshal(read)
	if err != nil {
		t.Fatal(err)
	}
	a.call(200, "PATCH", "/v1/tenants/acme", string(text))
}
