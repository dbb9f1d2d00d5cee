package assemble_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/tools/testserver"
)

// identityOutageSeed has a public registry, a job's account and what people of the directory get.
const identityOutageSeed = `
tenants:
  - id: acme
    registries: [{id: dev}, {id: public, anonymous_pull: true}]
    service_accounts:
      - {id: suite, role: ADMIN, keys: [{id: key, secret_file: secret}]}
      - {id: ci, role: READER, trusts: [{id: github, issuer: %q, condition: claims.repository == "acme/web"}]}
`

// pulls are the requests of one kind of callers, and how many of them were answered.
type pulls struct {
	kind      string
	from      repository
	login     bool // a token is asked for first
	sent, got int
}

// pull asks for the token, if it is one of those, and for the manifest and the blob.
func (p *pulls) pull(t *testing.T, w *world, img ocitest.Image) {
	t.Helper()
	targets := []string{p.from.at("manifests/1"), p.from.at("blobs/%s", img.Layers[0].Digest)}
	r := p.from
	if p.login {
		p.sent++
		var token struct{ Token string }
		a, err := r.try(request{method: http.MethodGet, target: "/token?scope=repository:" + r.name + ":pull"})
		if err != nil || a.status != http.StatusOK {
			t.Errorf("%s: a token: %d %s, %v", p.kind, a.status, a.body, err)
			return
		}
		p.got++
		a.decode(t, &token)
		r.client = &http.Client{Transport: bearing{w.client.Transport, token.Token}}
	}
	for _, target := range targets {
		p.sent++
		if a, err := r.try(request{method: http.MethodGet, target: target}); err != nil || a.status != http.StatusOK {
			t.Errorf("%s: %s: %d %s, %v", p.kind, target, a.status, a.body, err)
			continue
		}
		p.got++
	}
}

// TestV98_B14_HalfAnHourWithoutIdentity: while the directory, the issuers of people and of jobs, and Redis take
// connections and answer nothing, for half an hour of the store's clock, every request of those
// who do not need them now is answered.
func TestV98_B14_HalfAnHourWithoutIdentity(t *testing.T) {
	t.Parallel()
	db, redis, issuer := testserver.StartPostgres(t), testserver.StartRedis(t), testserver.StartIssuer(t, "")
	sso := testserver.StartOpenID(t)
	w := startOneWith(t, serversWith(t, db, redis.URL()), fmt.Sprintf(identityOutageSeed, issuer.URL), trusting(t, issuer.CA, sso.CA))
	slapd := giveDirectory(t, w)
	w.addIssuer(t, "sso", sso)
	w.admin(t, http.MethodPatch, groupPath+"/dev?update_mask=identity_groups", map[string]any{"identity_groups": []map[string]any{
		{"provider": "identityProviders/corp", "group": "dev"}, {"provider": "identityProviders/sso", "group": "dev"},
	}}).want(t, http.StatusOK)
	sso.LogsIn("s-ann", "ann", map[string]any{"groups": []string{"dev"}})
	img := ocitest.NewImage(98, 500)
	w.repository(devHost, "suite", "foo/img/a").pushImage(t, img, "1")
	w.repository("public.acme.localhost", "suite", "app").pushImage(t, img, "1")
	person := w.asMax(devHost, "foo/img/a")
	job := w.job(devHost, "foo/img/a", issuer.Token(t, testserver.GitHub(devHost, "acme/web", "main")))
	byJob := w.withToken(t, job)
	byPassword := w.withToken(t, person)
	var mine struct{ Secret string }
	w.admin(t, http.MethodPost, usersPath+"/max/accessTokens", map[string]any{}).want(t, http.StatusOK).decode(t, &mine)
	byAccessToken := person
	byAccessToken.client = &http.Client{Transport: authorized{w.client.Transport, "max", mine.Secret}}
	byIssuer := person
	byIssuer.client = &http.Client{Transport: authorized{
		w.client.Transport, "ann", w.tokenByBrowser(t, sso, "/v1/login?tenant=acme&provider=operator/identityProviders/sso", "ann"),
	}}
	suite := w.repository(devHost, "suite", "foo/img/a")
	all := []*pulls{
		{kind: "anonymous", from: repository{deployment{base: w.registry("public.acme.localhost"), client: w.client}, "app"}, login: true},
		{kind: "a key", from: suite},
		{kind: "a key at /token", from: suite, login: true},
		{kind: "an access token, by a group of the directory", from: byAccessToken},
		{kind: "an access token at /token", from: byAccessToken, login: true},
		{kind: "an access token, by a group of an issuer", from: byIssuer},
		{kind: "an access token of a person of an issuer, at /token", from: byIssuer, login: true},
		{kind: "a token issued before, to a person", from: byPassword},
		{kind: "a token issued before, to a job", from: byJob},
		{kind: "a job, whose issuer's keys are known", from: job},
	}

	silence := make(chan struct{})
	issuer.Answer(silentUntil(silence))
	sso.Between(func(http.Handler) http.Handler { return silentUntil(silence) })
	slapd.Pause()
	redis.Pause()
	const rounds, step = 15, 10 * time.Minute
	for past := time.Duration(0); past <= 30*time.Minute; past += step {
		db.Exec(fmt.Sprintf(`CREATE OR REPLACE FUNCTION berth_now() RETURNS timestamptz LANGUAGE sql STABLE AS 'SELECT now() + interval ''%d seconds'''`, int(past.Seconds())))
		for range rounds {
			for _, p := range all {
				p.pull(t, w, img)
			}
		}
	}
	total := 0
	for _, p := range all {
		want := 4 * rounds * 2
		if p.login {
			want = 4 * rounds * 3
		}
		if p.sent != want || p.got != p.sent {
			t.Errorf("%s: %d of %d requests answered, want %d", p.kind, p.got, p.sent, want)
		}
		total += p.got
	}
	if total < 1000 {
		t.Errorf("only %d requests", total)
	}
	stranger := w.asMax(devHost, "foo/img/a")
	stranger.client = &http.Client{Transport: authorized{w.client.Transport, "eve", "secret of eve"}}
	if a, err := stranger.try(request{method: http.MethodGet, target: "/token"}); err != nil || a.status != http.StatusServiceUnavailable {
		t.Errorf("who needs the directory: %d %s, %v", a.status, a.body, err)
	}

	close(silence)
	issuer.Answer(nil)
	sso.Between(nil)
	slapd.Resume()
	redis.Resume()
	await.True(t, time.Minute, "eve logs in", func() bool {
		a, err := stranger.try(request{method: http.MethodGet, target: "/token"})
		return err == nil && a.status == http.StatusOK
	})
	w.stop(t)
	w.wantSound(t)
}
