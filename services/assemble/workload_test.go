package assemble_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/boot"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/tools/testserver"
)

// workloadSeed has the account ci, which may push acme/web/** of dev, and trusts pushes to main
// of the repository acme/web at the issuer.
const workloadSeed = `
tenants:
  - id: acme
    disable_password_login: true
    registries: [{id: dev}, {id: public, anonymous_pull: true}]
    service_accounts:
      - {id: suite, role: ADMIN, keys: [{id: key, secret_file: secret}]}
      - id: ci
        role: MEMBER
        trusts:
          - id: github
            issuer: %q
            condition: claims.repository == "acme/web" && claims.ref == "refs/heads/main" && claims.event_name == "push"
    access_rules:
      - {id: web, effect: ALLOW, principals: [serviceAccounts/ci], registries: [dev], repositories: [acme/web/**], actions: [PULL, PUSH]}
  - id: other
    service_accounts:
      - id: ci
        role: WRITER
        trusts: [{id: github, issuer: %q, condition: claims.repository == "acme/web"}]
`

// trusting lets the deployment ask issuers whose certificates are by the authorities.
func trusting(t *testing.T, authorities ...[]byte) edit {
	t.Helper()
	file := filepath.Join(t.TempDir(), "issuers.crt")
	if err := os.WriteFile(file, bytes.Join(authorities, nil), 0o600); err != nil {
		t.Fatal(err)
	}
	return func(c *boot.Config) { chained(c); c.UpstreamCA = file }
}

// job is a repository as a job with the token sees it, by Basic.
func (w *world) job(host, name, secret string) repository {
	return repository{deployment{base: w.registry(host), client: &http.Client{Transport: authorized{w.client.Transport, "ci", secret}}}, name}
}

// TestV41_AJobPushesWithoutAStoredSecret from main, in each shape, by Basic and by token. From
// a fork, a pull request, another branch and another repository nothing gets in.
func TestV41_AJobPushesWithoutAStoredSecret(t *testing.T) {
	t.Parallel()
	for shape, start := range map[string]func(*testing.T, string, edit) *world{
		"embedded": func(t *testing.T, seed string, e edit) *world { t.Helper(); return startEmbedded(t, seed, e) },
		"split":    func(t *testing.T, seed string, e edit) *world { t.Helper(); return startSplit(t, seed, "", e) },
	} {
		t.Run(shape, func(t *testing.T) {
			t.Parallel()
			issuer := testserver.StartIssuer(t, "")
			w := start(t, fmt.Sprintf(workloadSeed, issuer.URL, issuer.URL), trusting(t, issuer.CA))
			img := ocitest.NewImage(41, 500)
			good := issuer.Token(t, testserver.GitHub(devHost, "acme/web", "main"))
			w.job(devHost, "acme/web/app", good).pushImage(t, img, "1")
			w.withToken(t, w.job(devHost, "acme/web/app2", good)).pushImage(t, img, "1")
			w.repository(devHost, "suite", "acme/web/app2").wantImage(t, "1", img)
			begin := func(r repository) answer {
				return r.send(t, request{method: http.MethodPost, target: r.at("blobs/uploads/")})
			}
			begin(w.job(devHost, "acme/api", good)).want(t, http.StatusForbidden, http.StatusNotFound)
			for what, claims := range map[string]map[string]any{
				"a fork":             testserver.GitHub(devHost, "mallory/web", "main"),
				"a pull request":     testserver.PullRequest(devHost, "acme/web"),
				"another repository": testserver.GitHub(devHost, "acme/api", "main"),
				"another branch":     testserver.GitHub(devHost, "acme/web", "dev"),
				"another audience":   testserver.GitHub("sts.amazonaws.com", "acme/web", "main"),
			} {
				r := w.job(devHost, "acme/web/app", issuer.Token(t, claims))
				if got := begin(r); got.status != http.StatusUnauthorized {
					t.Errorf("%s: %d %s", what, got.status, got.body)
				}
			}
			w.job(devHost, "acme/web/app", issuer.Token(t, testserver.PullRequest(devHost, "acme/web"))).get(t, "/token").want(t, http.StatusUnauthorized)
			// Replayed at another registry of the tenant, and at another tenant that trusts the same job.
			for _, host := range []string{"public.acme.localhost", "other.localhost"} {
				begin(w.job(host, "acme/web/app", good)).want(t, http.StatusUnauthorized)
			}
			w.stop(t)
			w.wantSound(t)
		})
	}
}

// TestV46_NothingElseDependsOnTheIssuer: while it is down, keys, anonymous pulls and issued
// tokens work, and a job learns that it is to come back.
func TestV46_NothingElseDependsOnTheIssuer(t *testing.T) {
	t.Parallel()
	issuer := testserver.StartIssuer(t, "")
	issuer.Answer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	w := startEmbedded(t, fmt.Sprintf(workloadSeed, issuer.URL, issuer.URL), trusting(t, issuer.CA))
	img := ocitest.NewImage(46, 500)
	w.repository(devHost, "suite", "acme/web/app").pushImage(t, img, "1")
	w.repository("public.acme.localhost", "suite", "app").pushImage(t, img, "1")
	secret := issuer.Token(t, testserver.GitHub(devHost, "acme/web", "main"))
	anonymous := w.withToken(t, repository{deployment{base: w.registry("public.acme.localhost"), client: w.client}, "app"})
	pull := func() (answer, error) {
		r := w.job(devHost, "acme/web/app", secret)
		return r.try(request{method: http.MethodGet, target: r.at("manifests/1")})
	}
	for range 20 { // more than failures that lock an account
		if got, err := pull(); err != nil || got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "" {
			t.Fatalf("%d %s, %v", got.status, got.body, err)
		}
		w.repository(devHost, "suite", "acme/web/app").wantImage(t, "1", img)
		anonymous.wantImage(t, "1", img)
	}
	issuer.Answer(nil)
	await.True(t, time.Minute, "the issuer is asked again", func() bool {
		got, err := pull()
		return err == nil && got.status == http.StatusOK
	})
}

// TestV48_ADeletedTrustEndsItsTokens within 5 s, also those that were issued before.
func TestV48_ADeletedTrustEndsItsTokens(t *testing.T) {
	t.Parallel()
	issuer := testserver.StartIssuer(t, "")
	w, log := startJournaled(t, fmt.Sprintf(workloadSeed, issuer.URL, issuer.URL), trusting(t, issuer.CA))
	img := ocitest.NewImage(48, 500)
	w.repository(devHost, "suite", "acme/web/app").pushImage(t, img, "1")
	secret := issuer.Token(t, testserver.GitHub(devHost, "acme/web", "main"))
	byToken := w.withToken(t, w.job(devHost, "acme/web/app", secret))
	byToken.wantImage(t, "1", img)
	const path = "/v1/tenants/acme/serviceAccounts/ci/trusts"
	w.admin(t, http.MethodDelete, path+"/github", nil).want(t, http.StatusOK)
	if got := w.job(devHost, "acme/web/app", secret).get(t, "/token"); got.status != http.StatusUnauthorized {
		t.Errorf("a login by the deleted trust: %d", got.status)
	}
	await.True(t, 5*time.Second, "its tokens end", func() bool { return byToken.get(t, byToken.at("manifests/1")).status == http.StatusUnauthorized })
	w.stop(t)

	// V49: the log says who it was, by which trust, for which job; and no token.
	var login, pull, refused bool
	for _, line := range log.access(t) {
		who := line["principal"] == "serviceAccounts/ci" && line["trust"] == "github"
		login = login || who && line["job"] == "repo:acme/web:ref:refs/heads/main"
		pull = pull || who && line["job"] == nil
		why, _ := line["job_refused"].(string)
		refused = refused || strings.Contains(why, "no trust in the issuer")
	}
	if !login || !pull || !refused {
		t.Errorf("login %t, pull %t, refused %t in\n%s", login, pull, refused, log.String())
	}
	for part := range strings.SplitSeq(secret, ".") {
		if strings.Contains(log.String(), part) {
			t.Error("the log has a part of the token")
		}
	}
}
