package front_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/front"
	"github.com/berth-registry/berth/services/internal/fronttest"
)

// TestN6_DenialsSayWhatWhoAndWhy, in the body and, also for HEAD, in Warning; and
// the same for a repository that is there and for one that is not.
func TestN6_DenialsSayWhatWhoAndWhy(t *testing.T) {
	d := fronttest.New(t)
	private := d.Tenant("acme", tenant.Settings{})
	prod := d.Registry(private, "prod", tenant.Settings{ReadOnly: true, AnonymousPull: true})
	public := d.Registry(private, "pub", tenant.Settings{AnonymousPull: true})
	d.Account(private, "ci", access.Reader)
	writer := d.Account(private, "writer", access.Writer)
	d.Account(private, "boss", access.Admin)
	none := access.Principal{Name: "serviceAccounts/none", Tenant: private.Tenant}
	d.PutManifest(fronttest.Repo(private, "there"), ocitest.Index().Bytes, "1")
	d.Serve(front.Services{Registry: http.HandlerFunc(guarded)})
	all := access.Repository("there", access.All)
	missing := access.Repository("none", access.All)
	for _, c := range []struct {
		site          tenant.Site
		basic, bearer string
		want          string // the rights that the request needs
		status        int
		message       string
	}{
		{private, "ci", "", "push", 403, `account "ci" has role READER, which may not push`},
		{private, "ci", "", "delete", 403, `account "ci" has role READER, which may not delete`},
		{private, "writer", "", "delete", 403, `account "writer" has role WRITER, which may not delete`},
		{private, "", d.Token(private, writer, all, missing), "delete", 403, `account "writer" has role WRITER, which may not delete`},
		{prod, "boss", "", "push", 403, `registry "prod" is read-only`},
		{prod, "", "", "push", 401, "authentication is required: this registry is read-only"},
		{private, "", "", "pull", 401, "authentication is required: anonymous pull is off in this registry"},
		{public, "", "", "push", 401, "authentication is required: anonymous push is off in this registry"},
		{private, "", d.Token(private, none, all, missing), "pull", 404, "repository not found, or you do not have pull access"},
	} {
		var first fronttest.Answer
		for i, name := range []string{"there", "none"} {
			req := fronttest.Request{
				Host: c.site.Host, Path: "/v2/" + name + "/manifests/1", Basic: c.basic, Bearer: c.bearer, Header: http.Header{"Want": {c.want}},
			}
			a := d.Do(req)
			message := strings.ReplaceAll(c.message, `"`, `\"`)
			if a.Status != c.status || !strings.Contains(a.Body, `"message":"`+message+`"`) {
				t.Errorf("%+v: %d %s", c, a.Status, a.Body)
			}
			req.Method = http.MethodHead
			warning := ""
			if c.status == http.StatusForbidden {
				warning = `299 - "` + strings.ReplaceAll(c.message, `"`, "'") + `"`
			}
			if got := d.Do(req).Header.Get("Warning"); got != warning {
				t.Errorf("%+v: Warning: %s", c, got)
			}
			for h, v := range a.Header { // the challenge names what was asked for
				a.Header[h] = []string{strings.ReplaceAll(strings.Join(v, ""), name, "")}
			}
			if i == 0 {
				first = a
			} else {
				d.Same(c.message, first, a)
			}
		}
	}
}

// TestN6_DenialsByAccessRules say that a rule is the reason, and not a setting or a role
// that would allow it.
func TestN6_DenialsByAccessRules(t *testing.T) {
	d := fronttest.New(t)
	acme := d.Tenant("acme", tenant.Settings{AnonymousPull: true, AnonymousPush: true})
	d.Account(acme, "writer", access.Writer)
	for slug, rule := range map[string]access.Rule{
		"no-pull": {Principals: []string{access.AnonymousPrincipal}, Repositories: []string{"secret/**"}, Actions: access.Pull},
		"no-push": {Principals: []string{access.AnonymousPrincipal, access.Authenticated}, Repositories: []string{"frozen/**"}, Actions: access.Push},
	} {
		rule.Slug, rule.Deny = slug, true
		if _, err := d.Meta.CreateAccessRule(t.Context(), fronttest.By(), meta.AccessRule{Tenant: acme.Tenant, Rule: rule}); err != nil {
			t.Fatal(err)
		}
	}
	acme = d.Site(acme.Host)
	d.Serve(front.Services{Registry: http.HandlerFunc(guarded)})
	for _, c := range []struct {
		name, basic, want string
		status            int
		message           string
	}{
		{"secret/app", "", "pull", 401, "an access rule takes the right to pull this from anonymous callers"},
		{"frozen/app", "", "push", 401, "an access rule takes the right to push this from anonymous callers"},
		{"frozen/app", "writer", "push", 403, "access rules"},
		{"app", "writer", "push", 204, ""},
	} {
		a := d.Do(fronttest.Request{Host: acme.Host, Path: "/v2/" + c.name + "/manifests/1", Basic: c.basic, Header: http.Header{"Want": {c.want}}})
		if a.Status != c.status || !strings.Contains(a.Body, c.message) {
			t.Errorf("%+v: %d %s", c, a.Status, a.Body)
		}
	}
}
