package proxy_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/services/internal/fronttest"
	"github.com/berth-registry/berth/tools/testserver"
)

// delegation is a world in which dev asks prod, which is private, has team/app and asks the
// upstream hub. The account "dev" may pull from dev, "both" from both, and "cached" does
// not fill in prod.
type delegation struct {
	*world
	up    *testserver.Scripted
	image ocitest.Image
	who   map[string]access.Principal
}

func newDelegation(t *testing.T, checked bool) delegation {
	t.Helper()
	w := newWorld(t)
	d := delegation{w, testserver.StartScripted(t), ocitest.NewImage(41, 500, 1000), map[string]access.Principal{}}
	w.upstream("hub", d.up.URL(), nil)
	w.Group(w.dev, "outside", meta.Member{Upstream: "hub"})
	prod, err := w.Meta.FindRegistry(t.Context(), w.dev.Tenant, "prod")
	if err != nil {
		t.Fatal(err)
	}
	prod.Settings.AnonymousPull, prod.Settings.UpstreamGroup = false, "outside"
	if _, err := w.Meta.UpdateRegistry(t.Context(), fronttest.By(), prod); err != nil {
		t.Fatal(err)
	}
	w.push(w.prod, "team/app", "1", d.image)
	w.chain(meta.Member{Registry: "prod", Checked: checked})
	for slug, in := range map[string]string{"dev": "", "both": "prod", "cached": "prod"} {
		d.who[slug] = w.Account(w.dev, slug, access.Member)
		if in != "" {
			d.rule(slug, in, map[string]access.Actions{"both": access.Pull | access.Fill, "cached": access.Pull}[slug])
		}
	}
	w.dev = w.Site(w.dev.Host)
	return d
}

// rule lets an account pull everything in a registry.
func (d delegation) rule(account, registry string, a access.Actions) {
	d.t.Helper()
	if _, err := d.Meta.CreateAccessRule(d.t.Context(), fronttest.By(), meta.AccessRule{Tenant: d.dev.Tenant, Rule: access.Rule{
		Slug: account + "-in-" + registry, Principals: []string{"serviceAccounts/" + account},
		Registries: []string{registry}, Repositories: []string{"**"}, Actions: a,
	}}); err != nil {
		d.t.Fatal(err)
	}
}

// by asks dev as an account, by its password and by a token, which get the same status.
func (d delegation) by(account, method, path, name string) fronttest.Answer {
	d.t.Helper()
	basic := fronttest.Request{Method: method, Host: d.dev.Host, Path: path, Basic: account}
	bearer := basic
	bearer.Basic, bearer.Bearer = "", d.Token(d.dev, d.who[account], access.Repository(name, access.Pull))
	one, other := d.Do(basic), d.Do(bearer)
	if one.Status != other.Status {
		d.t.Errorf("%s %s %s: %d by password, %d by token", account, method, path, one.Status, other.Status)
	}
	return one
}

// TestU36_OnlyWithTheRightOnTheMember asks for all that prod has, and what it gets from its
// upstream, by dev.
func TestU36_OnlyWithTheRightOnTheMember(t *testing.T) {
	const name, far = "team/app", testserver.ScriptedName
	for _, checked := range []bool{true, false} {
		d := newDelegation(t, checked)
		digest, layer := d.image.Index.Digest.String(), d.image.Layers[0].Digest.String()
		for _, q := range []struct{ method, path, name string }{
			{http.MethodGet, "/v2/team/app/manifests/1", name},
			{http.MethodHead, "/v2/team/app/manifests/1", name},
			{http.MethodGet, "/v2/team/app/manifests/" + digest, name},
			{http.MethodGet, "/v2/team/app/blobs/" + layer, name},
			{http.MethodHead, "/v2/team/app/blobs/" + layer, name},
			{http.MethodGet, "/v2/team/app/tags/list", name},
			{http.MethodGet, "/v2/" + far + "/manifests/" + testserver.ScriptedTag, far},
			{http.MethodGet, "/v2/" + far + "/tags/list", far},
			{http.MethodGet, "/v2/proxy/hub/" + far + "/manifests/" + testserver.ScriptedTag, "proxy/hub/" + far},
			{http.MethodGet, "/v2/" + far + "/manifests/" + testserver.ScriptedTag + "?ns=hub", "proxy/hub/" + far},
		} {
			for account, want := range map[string]int{"dev": http.StatusNotFound, "both": http.StatusOK} {
				if !checked {
					want = http.StatusOK
				}
				if a := d.by(account, q.method, q.path, q.name); a.Status != want {
					t.Errorf("checked %t, %s: %s %s: %d %s, want %d", checked, account, q.method, q.path, a.Status, a.Body, want)
				}
			}
		}
		part := fronttest.Request{Host: d.dev.Host, Path: "/v2/team/app/blobs/" + layer, Basic: "dev", Header: http.Header{"Range": {"bytes=1-2"}}}
		if a := d.Do(part); (a.Status == http.StatusNotFound) != checked {
			t.Errorf("checked %t: a range: %d", checked, a.Status)
		}
	}
}

// TestU36_ReferrersOfAMemberAreHidden from callers without the right.
func TestU36_ReferrersOfAMemberAreHidden(t *testing.T) {
	d := newDelegation(t, true)
	subject := d.image.Index
	about := ocitest.Extra{ArtifactType: "application/vnd.example", Subject: &subject.Descriptor}.Manifest(d.image.Config)
	d.PutManifest(fronttest.Repo(d.prod, "team/app"), about.Bytes)
	for account, want := range map[string]int{"dev": 0, "both": 1} {
		a := d.by(account, http.MethodGet, "/v2/team/app/referrers/"+subject.Digest.String(), "team/app")
		if n := strings.Count(a.Body, `"artifactType"`); a.Status != http.StatusOK || n != want {
			t.Errorf("%s: %d %s, want %d", account, a.Status, a.Body, want)
		}
	}
}

// TestU36_ClaimsOfAMemberStand although the caller may not pull from it: the upstream is not
// asked for what prod has.
func TestU36_ClaimsOfAMemberStand(t *testing.T) {
	d := newDelegation(t, true)
	direct := testserver.StartScripted(t)
	d.upstream("direct", direct.URL(), nil)
	g, err := d.Meta.FindGroup(t.Context(), d.dev.Tenant, "chain")
	if err == nil {
		g.Members = append(g.Members, meta.Member{Upstream: "direct"})
		_, err = d.Meta.UpdateGroup(t.Context(), fronttest.By(), g)
	}
	if err != nil {
		t.Fatal(err)
	}
	d.proxy.Clear()
	if a := d.by("dev", http.MethodGet, "/v2/"+testserver.ScriptedName+"/manifests/"+testserver.ScriptedTag, testserver.ScriptedName); a.Status != http.StatusOK {
		t.Errorf("what no registry has: %d %s", a.Status, a.Body)
	}
	direct.Forget()
	a := d.by("dev", http.MethodGet, "/v2/team/app/manifests/1", "team/app")
	if a.Status != http.StatusNotFound || strings.Contains(a.Body, "prod") || direct.Count("", "*") > 0 {
		t.Errorf("what prod has: %d %s", a.Status, a.Body)
	}
}

// TestU36_BelowAMemberItsOwnFillCounts for what is not cached yet.
func TestU36_BelowAMemberItsOwnFillCounts(t *testing.T) {
	d := newDelegation(t, true)
	path := "/v2/" + testserver.ScriptedName + "/manifests/" + testserver.ScriptedTag
	named := "proxy/hub/" + testserver.ScriptedName
	for _, path := range []string{"/v2/" + named + "/manifests/" + testserver.ScriptedTag, path + "?ns=hub"} {
		if a := d.by("cached", http.MethodGet, path, named); a.Status != http.StatusNotFound || !strings.Contains(a.Body, "NOT_FILLED") {
			t.Errorf("%s, before it is cached: %d %s", path, a.Status, a.Body)
		}
	}
	if a := d.by("cached", http.MethodGet, path, testserver.ScriptedName); a.Status != http.StatusNotFound || !strings.Contains(a.Body, "NOT_FILLED") {
		t.Errorf("before it is cached: %d %s", a.Status, a.Body)
	}
	for _, account := range []string{"both", "cached"} {
		if a := d.by(account, http.MethodGet, path, testserver.ScriptedName); a.Status != http.StatusOK {
			t.Errorf("%s: %d %s", account, a.Status, a.Body)
		}
	}
}

// TestU36_WithoutACredential a member that is private asks for one, and one that everybody
// may pull from does not.
func TestU36_WithoutACredential(t *testing.T) {
	d := newDelegation(t, true)
	for _, path := range []string{"/v2/team/app/manifests/1", "/v2/team/none/manifests/1", "/v2/proxy/hub/library/app/manifests/1"} {
		if a := d.get(path); a.Status != http.StatusUnauthorized || a.Header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s: %d %s", path, a.Status, a.Body)
		}
	}
	prod, err := d.Meta.FindRegistry(t.Context(), d.dev.Tenant, "prod")
	if err == nil {
		prod.Settings.AnonymousPull = true
		_, err = d.Meta.UpdateRegistry(t.Context(), fronttest.By(), prod)
	}
	if err != nil {
		t.Fatal(err)
	}
	d.Sites.Clear()
	d.proxy.Clear()
	d.wantPull("", "team/app", "1", d.image)
	if a := d.get("/v2/team/none/manifests/1"); a.Status != http.StatusNotFound {
		t.Errorf("what no member has: %d %s", a.Status, a.Body)
	}
}
