package assemble_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/tools/testserver"
)

const (
	secretOfMax = "secret of max"
	usersPath   = "/v1/tenants/acme/users"
)

// giveDirectory makes slapd the operator's identity provider, with max in its group dev, and gives
// that group the rule of the tests.
func giveDirectory(t *testing.T, w *world) *testserver.Slapd {
	t.Helper()
	slapd := testserver.StartSlapd(t)
	person, other := testserver.SlapdPerson("max", secretOfMax), testserver.SlapdPerson("eve", "secret of eve")
	for _, e := range []testserver.SlapdEntry{person, other, testserver.SlapdGroup("dev", person.DN, other.DN)} {
		slapd.Add(e)
	}
	w.admin(t, http.MethodPost, "/v1/identityProviders?identity_provider_id=corp", map[string]any{"ldap": map[string]any{
		"servers": []string{slapd.TLSURL()}, "ca_certificates": string(slapd.CAPEM()),
		"bind_dn": testserver.SlapdService, "bind_password": testserver.SlapdServiceSecret, "user_base": testserver.SlapdPeople,
	}}).want(t, http.StatusOK)
	w.admin(t, http.MethodPost, groupPath+"?group_id=dev", map[string]any{
		"identity_groups": []map[string]any{{"provider": "identityProviders/corp", "group": "dev"}},
	}).want(t, http.StatusOK)
	w.admin(t, http.MethodPost, rulePath+"?access_rule_id=dev-images", map[string]any{
		"effect": "ALLOW", "principals": []string{"groups/dev"}, "registries": []string{"dev"},
		"repositories": []string{"foo/img/*"}, "actions": []string{"PULL", "PUSH"},
	}).want(t, http.StatusOK)
	return slapd
}

// asMax is a repository for max of the directory, by the password.
func (w *world) asMax(host, name string) repository {
	return repository{deployment{base: w.registry(host), client: &http.Client{Transport: authorized{w.client.Transport, "max", secretOfMax}}}, name}
}

// TestV31_AGroupOfADirectoryHasOneRule: "group dev pulls and pushes foo/img/* and nothing else", for
// people of a real directory; out of the group, it is gone.
func TestV31_AGroupOfADirectoryHasOneRule(t *testing.T) {
	t.Parallel()
	for shape, start := range map[string]func(*testing.T, string) *world{
		"embedded": func(t *testing.T, seed string) *world { t.Helper(); return startEmbedded(t, seed) },
		"split":    func(t *testing.T, seed string) *world { t.Helper(); return startSplit(t, seed, "") },
	} {
		t.Run(shape, func(t *testing.T) {
			t.Parallel()
			w := start(t, rulesSeed)
			img := ocitest.NewImage(33, 500, 1000)
			for _, name := range []string{"foo/img/a", "foo/other", "bar/img/a", "foo/img/a/b", "foo/img"} {
				w.repository(devHost, "suite", name).pushImage(t, img, "1")
			}
			for _, name := range []string{"foo/img/p", "foo/p"} {
				w.repository(prodHost, "suite", name).pushImage(t, img, "1")
			}
			w.repository("base.acme.localhost", "suite", "foo/img/b").pushImage(t, img, "1")
			slapd := giveDirectory(t, w)
			var held repository
			await.True(t, 20*time.Second, "the rule acts in every process", func() bool {
				for range 2 * 4 { // at least two in a row at each process, which take turns
					held = w.withToken(t, w.asMax(devHost, "foo/img/a"))
					head := request{method: http.MethodHead, target: held.at("manifests/1")} // which others may serve
					if held.get(t, held.at("manifests/1")).status != http.StatusOK || held.send(t, head).status != http.StatusOK {
						return false
					}
				}
				return true
			})
			wantRuled(t, func(host, name string) repository {
				return w.withToken(t, w.asMax(host, name), "bar/img/a", "foo/img/a")
			}, img)

			slapd.Set("cn=dev,"+testserver.SlapdGroups, "member", "uid=eve,"+testserver.SlapdPeople)
			w.admin(t, http.MethodPost, usersPath+"/max:revokeTokens", map[string]any{}).want(t, http.StatusOK)
			refused := func(r repository) bool { return r.get(t, r.at("manifests/1")).status != http.StatusOK }
			await.True(t, 5*time.Second, "the right is gone, with the token and without", func() bool {
				return refused(held) && refused(w.withToken(t, w.asMax(devHost, "foo/img/a")))
			})
			slapd.Set("cn=dev,"+testserver.SlapdGroups, "member", "uid=eve,"+testserver.SlapdPeople, "uid=max,"+testserver.SlapdPeople)
			w.admin(t, http.MethodPost, usersPath+"/max:revokeTokens", map[string]any{}).want(t, http.StatusOK)
			await.True(t, 20*time.Second, "the right is back, without another login by password", func() bool {
				return !refused(w.withToken(t, w.asMax(devHost, "foo/img/a")))
			})
			w.stop(t)
			w.wantSound(t)
		})
	}
}

// TestV22_ADirectoryThatIsDownEndsOnlyItsOwnLogins: 503 for names that it alone can know, and all
// other ways to log in keep working.
func TestV22_ADirectoryThatIsDownEndsOnlyItsOwnLogins(t *testing.T) {
	t.Parallel()
	w := startEmbedded(t, rulesSeed)
	img := ocitest.NewImage(34, 500)
	w.repository(devHost, "suite", "foo/img/a").pushImage(t, img, "1")
	slapd := giveDirectory(t, w)
	held := w.withToken(t, w.asMax(devHost, "foo/img/a"))
	var mine struct{ Secret string }
	w.admin(t, http.MethodPost, usersPath+"/max/accessTokens", map[string]any{}).want(t, http.StatusOK).decode(t, &mine)
	slapd.Stop()
	stranger := w.asMax(devHost, "foo/img/a")
	stranger.client = &http.Client{Transport: authorized{w.client.Transport, "eve", "secret of eve"}}
	login := request{method: http.MethodGet, target: "/token?scope=repository:foo/img/a:pull"}
	if a, err := stranger.try(login); err != nil || a.status != http.StatusServiceUnavailable {
		t.Errorf("a name that only the directory knows: %d %s, %v", a.status, a.body, err)
	}
	wrong := w.repository(devHost, "ci", "foo/img/a")
	wrong.client = &http.Client{Transport: authorized{w.client.Transport, "ci", "wrong"}}
	wrong.get(t, "/token?scope=repository:foo/img/a:pull").want(t, http.StatusUnauthorized)
	byToken := w.asMax(devHost, "foo/img/a")
	byToken.client = &http.Client{Transport: authorized{w.client.Transport, "max", mine.Secret}}
	for name, r := range map[string]repository{
		"a token issued before": held, "an access token": byToken, "a key": w.repository(devHost, "suite", "foo/img/a"),
	} {
		if a := r.get(t, r.at("manifests/1")); a.status != http.StatusOK {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	slapd.Start()
	await.True(t, 20*time.Second, "eve logs in", func() bool {
		a, err := stranger.try(login)
		return err == nil && a.status == http.StatusOK
	})
	w.stop(t)
	w.wantSound(t)
}
