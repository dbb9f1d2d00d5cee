package proxy_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/pkg/upstream"
	"github.com/berth-registry/berth/services/internal/fronttest"
	"github.com/berth-registry/berth/tools/testserver"
)

// TestResolve_TellsWhatAPullGets asks for the account, and then pulls: the one is
// not to say other than the other.
func TestResolve_TellsWhatAPullGets(t *testing.T) {
	w := newWorld(t)
	first, second, secret := testserver.StartScripted(t), testserver.StartScripted(t), testserver.StartScripted(t)
	secret.RequireToken("bob", "secret")
	w.upstream("first", first.URL(), func(s *meta.UpstreamSettings) { s.Exclude = []string{"second/**"} })
	w.upstream("second", second.URL(), nil)
	w.upstream("secret", secret.URL(), func(s *meta.UpstreamSettings) { s.Username, s.Password = "bob", []byte("wrong") })
	w.chain(meta.Member{Registry: "prod"}, meta.Member{Upstream: "first"}, meta.Member{Upstream: "second"},
		meta.Member{Upstream: "secret", Include: []string{"secret/**"}})
	inDev, inProd, inSecond := ocitest.NewImage(100, 10), ocitest.NewImage(101, 10), ocitest.NewImage(102, 10)
	w.push(w.prod, "team/prod", "1", inProd)
	w.push(w.prod, "team/dev", "1", inProd)
	w.push(w.dev, "team/dev", "2", inDev)
	second.Push("second/app", inSecond, "1")
	second.Push("app", inSecond, "1")

	const (
		nobody = "registries/dev not_here, registries/prod not_here, "
		all    = nobody + "upstreams/first not_here, upstreams/second "
	)
	tell := func(name, reference, want string, status int) chain.Trace {
		t.Helper()
		ref, err := oci.ParseReference(reference)
		if err != nil {
			t.Fatal(err)
		}
		a, err := w.proxy.Resolve(t.Context(), w.dev.Tenant, w.dev.TenantSlug, "dev", name, ref, false, chain.PullsAll)
		if err != nil {
			t.Fatal(err)
		}
		if got := story(a); got != want {
			t.Errorf("%s@%s resolves as\n %s, want\n %s", name, reference, got, want)
		}
		if a.Name != name || a.Reference != reference || (a.Winner >= 0) != (a.Outcome == chain.Found) {
			t.Errorf("%s@%s: %+v", name, reference, a)
		}
		if strings.HasPrefix(want, "registries/dev found") {
			return a // the registry service answers that
		}
		pulled := w.get("/v2/" + name + "/manifests/" + reference)
		if pulled.Status != status {
			t.Errorf("%s@%s is pulled with %d, want %d", name, reference, pulled.Status, status)
		}
		if a.Winner >= 0 && a.Answers[a.Winner].Digest != pulled.Header.Get("Docker-Content-Digest") {
			t.Errorf("%s@%s: %s wins, and %s is pulled", name, reference, a.Answers[a.Winner].Digest, pulled.Header.Get("Docker-Content-Digest"))
		}
		return a
	}
	ok := http.StatusOK
	tell("team/dev", "2", "registries/dev found!", ok)
	tell("team/dev", "1", "registries/dev not_here, registries/prod found!", ok)
	tell("team/prod", "1", "registries/dev not_here, registries/prod found!", ok)
	tell("team/prod", inProd.Manifest.Digest.String(), "registries/dev not_here, registries/prod found!", ok)
	a := tell("team/prod", "none", nobody+"upstreams/first skipped, upstreams/second skipped, upstreams/secret skipped", http.StatusNotFound)
	for _, answer := range a.Answers[2:] {
		if answer.Detail == "" {
			t.Errorf("%s is skipped, and no one says why", answer.Member)
		}
	}
	tell("second/app", "1", nobody+"upstreams/first skipped, upstreams/second found!", ok)
	tell("second/app", inSecond.Manifest.Digest.String(), "registries/dev not_here, upstreams/second found!", ok) // whose index names it
	tell("app", "none", all+"not_here, upstreams/secret skipped", http.StatusNotFound)
	tell("app", ocitest.NewImage(103).Index.Digest.String(), all+"not_here, upstreams/secret skipped", http.StatusNotFound)

	begin := time.Now()
	a = tell("app", "1", all+"found!", ok)
	if got := a.Answers[a.Winner]; got.Cached || got.Stale || got.CheckedAt.Before(begin) || got.CheckedAt.After(time.Now()) {
		t.Errorf("just fetched: %+v", got)
	}
	checked := a.Answers[a.Winner].CheckedAt
	w.pass(2 * time.Minute)
	a = tell("app", "1", all+"found!", ok)
	if got := a.Answers[a.Winner]; !got.Cached || got.Stale || !near(got.CheckedAt, checked) {
		t.Errorf("from the cache: %+v, want checked at %v", got, checked)
	}
	tell("app", inSecond.Index.Digest.String(), nobody+"upstreams/first skipped, upstreams/second found!", ok)
	w.pass(tagTTL)
	second.Script(testserver.FaultRefused)
	a = tell("app", "1", all+"found!", ok)
	if got := a.Answers[a.Winner]; !got.Cached || !got.Stale || !near(got.CheckedAt, checked) {
		t.Errorf("in an outage: %+v, want checked at %v", got, checked)
	}
	a = tell("app", "2", all+"outage", http.StatusBadGateway)
	if last := a.Answers[len(a.Answers)-1]; !strings.Contains(last.Detail, "second") || strings.Contains(last.Detail, "127.0.0.1") || a.Outcome != chain.Outage {
		t.Errorf("an outage: %+v", a)
	}
	second.Script(testserver.FaultNone)
	w.pass(tagTTL)
	a = tell("secret/app", "1", nobody+"upstreams/first not_here, upstreams/second not_here, upstreams/secret denied", http.StatusForbidden)
	if last := a.Answers[len(a.Answers)-1]; !strings.Contains(last.Detail, "secret") || a.Outcome != chain.Denied {
		t.Errorf("a denial: %+v", a)
	}
}

// near takes times for the same that the store rounded.
func near(a, b time.Time) bool { return a.Sub(b).Abs() < time.Second }

// TestRefresh_AsksNow finds out what an upstream says, whatever is remembered.
func TestRefresh_AsksNow(t *testing.T) {
	w, up, _ := oneUpstream(t)
	u, err := w.Meta.FindUpstream(t.Context(), w.dev.Tenant, "hub")
	if err != nil {
		t.Fatal(err)
	}
	refresh := func(tag string) chain.Answer {
		t.Helper()
		a, err := w.proxy.Refresh(t.Context(), w.dev.TenantSlug, u, testserver.ScriptedName, oci.Reference{Tag: tag})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	path := "/v2/" + testserver.ScriptedName + "/manifests/"
	w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, up.Image)
	if a := w.get(path + "2"); a.Status != http.StatusNotFound {
		t.Fatal(a.Status)
	}
	newer := ocitest.NewImage(104, 10)
	up.Push(testserver.ScriptedName, newer, testserver.ScriptedTag, "2")
	w.pass(time.Second)
	for _, tag := range []string{testserver.ScriptedTag, "2"} {
		if a := refresh(tag); a.Outcome != chain.Found || a.Digest != newer.Index.Digest.String() || a.Cached || a.Stale {
			t.Errorf("tag %s: %+v", tag, a)
		}
		if a := w.get(path + tag); a.Body != string(newer.Index.Bytes) {
			t.Errorf("tag %s after that: %d, %d bytes", tag, a.Status, len(a.Body))
		}
	}
	up.Script(testserver.FaultRefused)
	if a := refresh("3"); a.Outcome != chain.Outage || a.Detail == "" {
		t.Errorf("in an outage: %+v", a)
	}
}

// TestN2_RefusedByConfigurationIsSaid in the pull, in its account and in the
// status of the upstream, and nothing is connected to.
func TestN2_RefusedByConfigurationIsSaid(t *testing.T) {
	w := newWorld(t)
	w.upstream("inside", "https://10.0.0.1:5000", nil)
	w.chain(meta.Member{Upstream: "inside"})
	const want = `upstream "inside" is refused by configuration: its address is in a network that is not public; the operator's upstream_allow must name it, and its port`
	pulled := w.get("/v2/app/manifests/1")
	quoted := strings.ReplaceAll(want, `"`, `\"`)
	if pulled.Status != http.StatusBadGateway || !strings.Contains(pulled.Body, quoted) || !strings.Contains(pulled.Body, `"reason":"REFUSED_BY_CONFIGURATION"`) {
		t.Errorf("%d %s", pulled.Status, pulled.Body)
	}
	if got := w.head("/v2/app/manifests/1").Header.Get("Warning"); got != `299 - "`+strings.ReplaceAll(want, `"`, "'")+`"` {
		t.Errorf("Warning: %s", got)
	}
	a := w.resolve("app", "1")
	if last := a.Answers[len(a.Answers)-1]; last.Outcome != chain.Outage || last.Detail != want || a.Outcome != chain.Outage {
		t.Errorf("%+v", a)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	w.proxy.Run(ctx) // writes down what is left
	u, err := w.Meta.FindUpstream(t.Context(), w.dev.Tenant, "inside")
	if err != nil || u.Status.State != string(upstream.RefusedByConfiguration) || u.Status.Failure != want {
		t.Errorf("%+v, %v", u.Status, err)
	}
}

// TestN5_ClaimedNamesAreTold to callers that may pull from the registry that claims
// them, in a pull that finds nothing; once the claim is released, the upstream is
// asked.
func TestN5_ClaimedNamesAreTold(t *testing.T) {
	w, up := newHub(t)
	ctx := t.Context()
	r, err := w.Meta.FindGroup(ctx, w.dev.Tenant, "chain")
	if err == nil {
		r.Members = append([]meta.Member{{Registry: "prod"}}, r.Members...)
		_, err = w.Meta.UpdateGroup(ctx, fronttest.By(), r)
	}
	if err != nil {
		t.Fatal(err)
	}
	w.proxy.Clear()
	ours, theirs := ocitest.NewImage(1, 10), ocitest.NewImage(2, 10)
	up.Push("app", theirs, "1")
	w.push(w.prod, "app", "old", ours)
	reader := w.Account(w.dev, "reader", access.Reader)
	pull := func(bearer string) fronttest.Answer {
		return w.Do(fronttest.Request{Host: w.dev.Host, Path: "/v2/app/manifests/1", Bearer: bearer})
	}
	known := w.Token(w.dev, reader, access.Repository("app", access.Pull))
	const told = `upstream hub is not asked, since registry \"prod\" claims the name \"app\"`
	for range 2 { // while prod has the name, and when it had it
		a := pull(known)
		if a.Status != http.StatusNotFound || a.Code() != "MANIFEST_UNKNOWN" || !strings.Contains(a.Body, told) ||
			!strings.Contains(a.Body, `"claimed_by":"registries/prod"`) || !strings.Contains(a.Body, `"not_asked":["upstreams/hub"]`) || !strings.Contains(a.Header.Get("Warning"), "allow_claimed") {
			t.Errorf("%d %s %v", a.Status, a.Body, a.Header)
		}
		if a := pull(""); a.Status != http.StatusNotFound || strings.Contains(a.Body+a.Header.Get("Warning"), "claim") {
			t.Errorf("anyone is told that prod has the name: %s", a.Body)
		}
		w.mustDo(w.Meta.DeleteRepository(ctx, fronttest.By(), fronttest.Repo(w.prod, "app")))
		w.push(w.prod, "app", "old", ours)
	}
	w.mustDo(w.Meta.DeleteRepository(ctx, fronttest.By(), fronttest.Repo(w.prod, "app")))
	w.mustDo(w.Meta.ReleaseNameClaim(ctx, fronttest.By(), fronttest.Repo(w.prod, "app")))
	w.wantPull("", "app", "1", theirs)

	// The registry that serves it itself claims the name: who may pull there may know.
	w.push(w.dev, "mine", "1", ours)
	w.mustDo(w.Meta.DeleteRepository(ctx, fronttest.By(), fronttest.Repo(w.dev, "mine")))
	if a := w.get("/v2/mine/manifests/1"); !strings.Contains(a.Body, `"claimed_by":"registries/dev"`) {
		t.Errorf("%d %s", a.Status, a.Body)
	}
}

func (w *world) mustDo(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// TestE9_RefreshKeepsToTheUpstreamsNames: a name that the tenant does not take
// from an upstream is not told to it in any way.
func TestE9_RefreshKeepsToTheUpstreamsNames(t *testing.T) {
	w := newWorld(t)
	up := testserver.StartScripted(t)
	u := w.upstream("hub", up.URL(), func(s *meta.UpstreamSettings) { s.Exclude = []string{"secret/**"} })
	for _, ref := range []oci.Reference{{Tag: "1"}, {Digest: up.Image.Index.Digest}} {
		a, err := w.proxy.Refresh(t.Context(), w.dev.TenantSlug, u, "secret/app", ref)
		if err != nil || a.Outcome != chain.Skipped || a.Detail == "" {
			t.Errorf("%s: %+v, %v", ref, a, err)
		}
	}
	if n := up.Connections(); n != 0 {
		t.Errorf("the upstream saw %d requests", n)
	}
}
