package registry_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/front"
	"github.com/berth-registry/berth/services/internal/fronttest"
	"github.com/berth-registry/berth/services/registry"
)

// watched is a store that tells of each call that an adoption is made of, before
// it is made.
type watched struct {
	registry.Meta
	mu    sync.Mutex
	calls []string
	tell  func(n int)
}

func (w *watched) note(call string) {
	w.mu.Lock()
	w.calls = append(w.calls, call)
	n, tell := len(w.calls), w.tell
	w.mu.Unlock()
	if tell != nil {
		tell(n)
	}
}

func (w *watched) reset(tell func(n int)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls, w.tell = nil, tell
}

func (w *watched) PutManifest(ctx context.Context, p meta.ManifestPut) error {
	w.note("PutManifest")
	return w.Meta.PutManifest(ctx, p)
}

func (w *watched) AdoptBlobs(ctx context.Context, by meta.Cause, from []meta.Repo, to meta.Repo, blobs []oci.Digest) ([]oci.Digest, error) {
	w.note("AdoptBlobs")
	return w.Meta.AdoptBlobs(ctx, by, from, to, blobs)
}

func (w *watched) FindAdoptable(ctx context.Context, from []meta.Repo, d oci.Digest) (meta.Manifest, error) {
	w.note("FindAdoptable")
	return w.Meta.FindAdoptable(ctx, from, d)
}

func (w *watched) FindTopology(ctx context.Context, t tenant.ID) (meta.Topology, error) {
	w.note("FindTopology")
	return w.Meta.FindTopology(ctx, t)
}

func (w *watched) ClaimedBy(ctx context.Context, t tenant.ID, rs []tenant.RegistryID, name string) (bool, error) {
	w.note("ClaimedBy")
	return w.Meta.ClaimedBy(ctx, t, rs, name)
}

// family is a bench at dev, whose chain is prod and the upstream ghcr, which has
// app as library/app.
type family struct {
	*bench
	prod, cache meta.Repo // of app
	meta        *watched
}

func newFamily(t *testing.T, dev tenant.Settings, members ...meta.Member) family {
	t.Helper()
	d := fronttest.New(t)
	w := &watched{Meta: d.Meta}
	svc := registry.New(registry.Config{Meta: w, Blobs: d.Blobs, Log: d.Log})
	d.Serve(front.Services{Registry: registry.NewHandler(svc, walks, d.Middlewares()...), Proxy: walks})
	main := d.Tenant("acme", tenant.Settings{})
	prod := d.Registry(main, "prod", tenant.Settings{})
	u, err := d.Meta.CreateUpstream(t.Context(), fronttest.By(), meta.Upstream{
		Tenant: main.Tenant, Slug: "ghcr", Settings: meta.UpstreamSettings{UpstreamTarget: meta.UpstreamTarget{URL: "https://ghcr.io"}, NamePrefix: "library/", Keep: meta.DefaultUpstreamSettings.Keep},
	})
	if err != nil {
		t.Fatal(err)
	}
	if members == nil {
		members = []meta.Member{{Registry: "prod"}, {Upstream: "ghcr"}}
	}
	d.Group(main, "chain", members...)
	dev.UpstreamGroup = "chain"
	b := &bench{Deployment: d, t: t, site: d.Registry(main, "dev", dev)}
	d.Account(b.site, "admin", access.Admin)
	return family{b, fronttest.Repo(prod, "app"), meta.Repo{Tenant: main.Tenant, Registry: u.Cache, Name: "library/app"}, w}
}

// stores puts an image, whose blobs these are, where the repository is: hosted, or
// as an upstream gave it.
func (f family) stores(r meta.Repo, contents ...string) string {
	f.t.Helper()
	var layers []ocitest.Content
	for _, content := range contents {
		if r == f.cache {
			f.fill(content)
		} else {
			f.PutBlob(r, []byte(content))
		}
		layers = append(layers, ocitest.Layer([]byte(content)))
	}
	return f.keeps(r, string(ocitest.Manifest(ocitest.Config([]byte(contents[0])), layers[1:]...).Bytes))
}

// keeps stores a manifest that needs nothing but what is there.
func (f family) keeps(r meta.Repo, manifest string) string {
	f.t.Helper()
	if r != f.cache {
		f.PutManifest(r, []byte(manifest), "of-"+digestOf(manifest)[7:17])
		return manifest
	}
	parsed, err := oci.ParseManifest("", []byte(manifest))
	if err != nil {
		f.t.Fatal(err)
	}
	err = f.Meta.PutCached(f.t.Context(), meta.CachedPut{
		Repo: r, Parsed: parsed, Keep: meta.DefaultUpstreamSettings.Keep,
		Manifest: meta.Manifest{Digest: oci.DigestOf(oci.SHA256, []byte(manifest)), MediaType: parsed.MediaType, Payload: []byte(manifest)},
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return manifest
}

func (f family) fill(content string) {
	f.t.Helper()
	ctx := f.t.Context()
	u, err := f.Meta.SealUpload(ctx, f.StageBlob(f.cache, []byte(content)), oci.DigestOf(oci.SHA256, []byte(content)))
	if err == nil {
		_, err = f.Blobs.Seal(ctx, u.Stage)
	}
	if err == nil {
		_, err = f.Meta.CommitUpload(ctx, meta.Cause{}, u, false)
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

// alone takes the group away, and then asks dev for everything.
func (f family) alone(manifests, contents []string) {
	f.t.Helper()
	f.change("dev", tenant.Settings{})
	for _, m := range manifests {
		if a := f.do("GET", "/v2/app/manifests/"+digestOf(m)); a.Status != 200 || a.Body != m {
			f.t.Errorf("dev alone answers %d %s for manifest %s", a.Status, a.Body, m)
		}
	}
	for _, c := range contents {
		if a := f.do("GET", "/v2/app/blobs/"+digestOf(c)); a.Status != 200 || a.Body != c {
			f.t.Errorf("dev alone answers %d %s for blob %s", a.Status, a.Body, c)
		}
	}
}

// lacks fails the test unless a PUT of the manifest is refused for exactly these.
func (f family) lacks(what, manifest string, digests ...string) {
	f.t.Helper()
	a := f.put("/v2/app/manifests/1", "", manifest)
	f.expect(what, a, 404, "MANIFEST_BLOB_UNKNOWN")
	var body struct {
		Errors []struct {
			Detail struct{ Digests []string } `json:"detail"`
		} `json:"errors"`
	}
	if err := json.Unmarshal([]byte(a.Body), &body, json.MatchCaseInsensitiveNames(true)); err != nil || len(body.Errors) != 1 {
		f.t.Fatalf("%s: %s: %v", what, a.Body, err)
	}
	got := body.Errors[0].Detail.Digests
	slices.Sort(got)
	slices.Sort(digests)
	if !slices.Equal(got, digests) {
		f.t.Errorf("%s: %q are missing, want %q", what, got, digests)
	}
}

func TestG10_AManifestPutAdoptsBlobs(t *testing.T) {
	for what, where := range map[string]func(f family) meta.Repo{
		"hosted by a member": func(f family) meta.Repo { return f.prod },
		"cached":             func(f family) meta.Repo { return f.cache },
	} {
		t.Run(what, func(t *testing.T) {
			f := newFamily(t, tenant.Settings{})
			f.PutBlob(f.repo("app"), []byte("own layer"))
			image := f.stores(where(f), `{"config":1}`, "layer", "another")
			f.pushed("/v2/app/manifests/1", image)
			a := f.do("GET", "/v2/app/tags/list")
			f.expect("the lists are those of the chain", a, walked, "")
			f.alone([]string{image}, []string{`{"config":1}`, "layer", "another"})
			f.expect("tags", f.do("GET", "/v2/app/tags/list"), 200, "")
			events, err := f.Meta.ListEvents(t.Context(), f.site.Tenant, meta.Page{Size: 4})
			if err != nil || events[0].Actor != "operator" || events[1].Verb != "manifest.put" || events[2].Verb != "blob.mount" || events[2].Actor != "serviceAccounts/admin" {
				t.Errorf("events %+v, %v", events, err)
			}
		})
	}
}

func TestG10_NothingMissingIsOneTransaction(t *testing.T) {
	f := newFamily(t, tenant.Settings{})
	image := f.image("app", "layer")
	f.meta.reset(nil)
	f.pushed("/v2/app/manifests/1", image)
	if got := strings.Join(f.meta.calls, " "); got != "PutManifest" {
		t.Errorf("a plain push is %s", got)
	}
	f.change("dev", tenant.Settings{})
	f.meta.reset(nil)
	f.lacks("without a chain", index(index(image)), digestOf(index(image)))
	if got := strings.Join(f.meta.calls, " "); got != "PutManifest" {
		t.Errorf("a refused push without a chain is %s", got)
	}
}

// A registry that takes sparse manifests adopts what it can anyway.
func TestG10_WhereReferencesMayBeMissing(t *testing.T) {
	f := newFamily(t, tenant.Settings{AllowMissingReferences: true})
	image := f.stores(f.prod, "config", "layer")
	sparse := string(ocitest.Manifest(ocitest.Config([]byte("config")), ocitest.Layer([]byte("nowhere")), ocitest.Layer([]byte("layer"))).Bytes)
	f.pushed("/v2/app/manifests/1", sparse)
	index := index(image, `{"not":"there"}`)
	f.pushed("/v2/app/manifests/2", index)
	f.alone([]string{sparse, index, image}, []string{"config", "layer"})
	f.expect("what is nowhere", f.do("GET", "/v2/app/blobs/"+digestOf("nowhere")), 404, "BLOB_UNKNOWN")
}

func TestG11_AnIndexBringsItsChildren(t *testing.T) {
	for _, where := range []string{"hosted", "cached"} {
		for depth := 1; depth <= 4; depth++ {
			t.Run(fmt.Sprint(where, " ", depth), func(t *testing.T) {
				f := newFamily(t, tenant.Settings{})
				from := f.prod
				if where == "cached" {
					from = f.cache
				}
				image := f.stores(from, "config", "layer")
				manifests := []string{image}
				for range depth {
					manifests = append(manifests, f.keeps(from, index(manifests[len(manifests)-1])))
				}
				top := manifests[depth]
				if depth == 4 {
					f.lacks("four levels", top, digestOf(image))
					return
				}
				f.pushed("/v2/app/manifests/1", top)
				f.alone(manifests, []string{"config", "layer"})
				child := oci.Digest(digestOf(manifests[depth-1]))
				if push, err := f.meta.FindPush(t.Context(), fronttest.Repo(f.site, "app"), child); err != nil || push.Actor != "" {
					t.Errorf("an adopted child was pushed by %q, %v", push.Actor, err)
				}
			})
		}
	}
}

func TestG11_NoMoreThanAThousand(t *testing.T) {
	f := newFamily(t, tenant.Settings{})
	contents := make([]string, 1001)
	digests := make([]string, len(contents))
	for i := range contents {
		contents[i] = fmt.Sprint("layer ", i)
		digests[i] = digestOf(contents[i])
	}
	image := f.stores(f.prod, contents...)
	f.lacks("1,001 references", image, digests...)
	f.PutBlob(f.repo("app"), []byte(contents[0]))
	f.pushed("/v2/app/manifests/1", image)
	f.alone([]string{image}, contents)
}

func TestG12_OnlyWhatTheChainWouldAnswer(t *testing.T) {
	reader := func(t *testing.T, f family, image string) {
		f.pushed("/v2/app/manifests/1", image)
		f.alone([]string{image}, []string{"config", "layer"})
	}
	refused := func(t *testing.T, f family, image string) {
		f.lacks("not for the chain", image, digestOf("config"), digestOf("layer"))
		f.lacks("an index of it", index(image), digestOf(image))
	}
	claim := func(f family, r meta.Repo) {
		f.PutBlob(r, []byte("config"))
		d := f.PutManifest(r, []byte(nestless("config")), "old")
		if err := f.Meta.DeleteManifest(context.Background(), meta.ManifestDelete{Repo: r, Digest: d, By: fronttest.By()}); err != nil {
			f.t.Fatal(err)
		}
		if err := f.Meta.DeleteRepository(context.Background(), fronttest.By(), r); err != nil {
			f.t.Fatal(err)
		}
	}
	prod, ghcr := meta.Member{Registry: "prod"}, meta.Member{Upstream: "ghcr"}
	exclude := func(m meta.Member) meta.Member { m.Exclude = []string{"app"}; return m }
	for _, c := range []struct {
		name    string
		members []meta.Member
		from    func(f family) meta.Repo
		before  func(f family)
		want    func(t *testing.T, f family, image string)
	}{
		{name: "the registry's own claim", from: cached, before: func(f family) { claim(f, f.repo("app")) }, want: reader},
		{name: "a claim of another member", from: cached, before: func(f family) { claim(f, f.prod) }, want: refused},
		{name: "a claim, of a hosted one", from: hosted, before: func(f family) { claim(f, f.repo("app")) }, want: reader},
		{name: "a claim of a registry that is not in the chain", members: []meta.Member{ghcr}, from: cached, before: func(f family) { claim(f, f.prod) }, want: reader},
		{name: "a claim that the upstream is allowed", from: cached, before: func(f family) {
			claim(f, f.prod)
			f.mayHaveClaimed()
		}, want: reader},
		{name: "excluded by the group", members: []meta.Member{exclude(prod), ghcr}, from: hosted, want: refused},
		{name: "excluded by the group, cached", members: []meta.Member{prod, exclude(ghcr)}, from: cached, want: refused},
		{name: "excluded by the upstream", from: cached, before: func(f family) {
			f.configure(func(s *meta.UpstreamSettings) { s.Exclude = []string{"library/app"} }, false)
		}, want: refused},
		{name: "not included by the upstream", from: cached, before: func(f family) {
			f.configure(func(s *meta.UpstreamSettings) { s.Include = []string{"team/**"} }, false)
		}, want: refused},
		{name: "given up", from: cached, before: func(f family) { f.configure(func(*meta.UpstreamSettings) {}, true) }, want: refused},
		{name: "under another name", from: func(f family) meta.Repo {
			r := f.prod
			r.Name = "another"
			return r
		}, want: refused},
		{name: "of a registry that is not a member", members: []meta.Member{ghcr}, from: hosted, want: refused},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFamily(t, tenant.Settings{}, c.members...)
			image := f.stores(c.from(f), "config", "layer")
			if c.before != nil {
				c.before(f)
				if c.from(f) == f.prod {
					image = f.stores(f.prod, "config", "layer")
				}
			}
			c.want(t, f, image)
		})
	}
}

func hosted(f family) meta.Repo { return f.prod }
func cached(f family) meta.Repo { return f.cache }

// nestless is an image of one blob.
func nestless(config string) string {
	return string(ocitest.Manifest(ocitest.Config([]byte(config))).Bytes)
}

// configure changes the upstream.
func (f family) configure(change func(s *meta.UpstreamSettings), renew bool) {
	f.t.Helper()
	u, err := f.Meta.FindUpstream(context.Background(), f.site.Tenant, "ghcr")
	if err == nil {
		change(&u.Settings)
		_, err = f.Meta.UpdateUpstream(context.Background(), fronttest.By(), u, renew)
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

// mayHaveClaimed lets the upstream answer for app although prod has it.
func (f family) mayHaveClaimed() {
	f.configure(func(s *meta.UpstreamSettings) { s.AllowClaimed = []string{"app"} }, false)
}

// TestU37_AMemberThatIsNotDelegatedIsAdoptedFromWithTheRight to pull from it.
func TestU37_AMemberThatIsNotDelegatedIsAdoptedFromWithTheRight(t *testing.T) {
	f := newFamily(t, tenant.Settings{}, meta.Member{Registry: "prod", Checked: true}, meta.Member{Upstream: "ghcr"})
	image := f.stores(f.prod, "config", "layer")
	rule := func(slug string, registries ...string) {
		t.Helper()
		if _, err := f.Meta.CreateAccessRule(t.Context(), fronttest.By(), meta.AccessRule{Tenant: f.site.Tenant, Rule: access.Rule{
			Slug: slug, Principals: []string{"serviceAccounts/member"}, Registries: registries, Repositories: []string{"app"}, Actions: access.Pull | access.Push,
		}}); err != nil {
			t.Fatal(err)
		}
		f.site = f.Site(f.site.Host)
	}
	f.Account(f.site, "member", access.Member)
	put := func(tag string) fronttest.Answer {
		t.Helper()
		return f.Do(fronttest.Request{Method: http.MethodPut, Host: f.site.Host, Path: "/v2/app/manifests/" + tag, Body: image, Basic: "member"})
	}
	rule("dev", "dev")
	if a := put("1"); a.Status != http.StatusNotFound {
		t.Errorf("with the right in dev alone: %d %s", a.Status, a.Body)
	}
	rule("prod", "prod")
	if a := put("2"); a.Status != http.StatusCreated {
		t.Errorf("with the right in prod: %d %s", a.Status, a.Body)
	}
	f.alone([]string{image}, []string{"config", "layer"})
}

// Who pushes with a token that does not let it pull gets nothing by it.
func TestG12_OnlyForWhoMayPull(t *testing.T) {
	f := newFamily(t, tenant.Settings{})
	image := f.stores(f.prod, "config", "layer")
	for _, c := range []struct { // in this order: the second puts the image there
		actions access.Actions
		want    int
	}{{access.Push, 404}, {access.Push | access.Pull, 201}} {
		actions, want := c.actions, c.want
		a := f.Do(fronttest.Request{
			Method: http.MethodPut, Host: f.site.Host, Path: "/v2/app/manifests/" + fmt.Sprint(want), Body: image,
			Bearer: f.Token(f.site, writer(f.site), access.Repository("app", actions)),
		})
		if a.Status != want {
			t.Errorf("with %v: %d %s, want %d", actions, a.Status, a.Body, want)
		}
		if want == 201 {
			f.alone([]string{image}, []string{"config", "layer"})
		}
	}
}

func TestG13_WhatIsMissingIsAskedOfTheClient(t *testing.T) {
	f := newFamily(t, tenant.Settings{})
	f.mayHaveClaimed()
	whole := f.stores(f.prod, "config", "layer")
	f.PutBlob(f.prod, []byte("known"))
	remote := nestless("remote config")
	f.keeps(f.cache, remote) // as an upstream gave it, whose blob was never fetched
	first := index(whole, remote, `{"never":"seen"}`)
	f.lacks("an index", first, digestOf("remote config"), digestOf(`{"never":"seen"}`))
	f.expect("nothing is listed", f.do("GET", "/v2/_catalog"), 200, "")
	if a := f.do("GET", "/v2/_catalog"); strings.Contains(a.Body, "app") {
		t.Errorf("a push that was refused is listed: %s", a.Body)
	}
	if claimed, err := f.Meta.ClaimedBy(t.Context(), f.site.Tenant, []tenant.RegistryID{f.site.Registry}, "app"); claimed || err != nil {
		t.Errorf("a push that was refused claims its name: %t, %v", claimed, err)
	}
	// The client pushes what it was asked for, and no more.
	f.PutBlob(f.repo("app"), []byte("remote config"))
	f.PutBlob(f.repo("app"), []byte("c"))
	second := index(whole, remote, nestless("c"))
	f.pushed("/v2/app/manifests/c", nestless("c"))
	f.pushed("/v2/app/manifests/1", second)
	f.alone([]string{second, whole, remote}, []string{"config", "layer", "remote config"})
}

// TestG16_AnythingBetweenTheSteps lets the source go, in one way or another,
// before each call of an adoption: what is acknowledged is whole.
func TestG16_AnythingBetweenTheSteps(t *testing.T) {
	ctx := context.Background()
	for what, disturb := range map[string]func(f family){
		"prod loses the repository": func(f family) { _ = f.Meta.DeleteRepository(ctx, fronttest.By(), f.prod) },
		"dev loses the repository":  func(f family) { _ = f.Meta.DeleteRepository(ctx, fronttest.By(), f.repo("app")) },
		"the upstream is renewed":   func(f family) { f.configure(func(*meta.UpstreamSettings) {}, true) },
		"the group is emptied": func(f family) {
			if g, err := f.Meta.FindGroup(ctx, f.site.Tenant, "chain"); err == nil {
				g.Members = nil
				_, _ = f.Meta.UpdateGroup(ctx, fronttest.By(), g)
			}
		},
	} {
		t.Run(what, func(t *testing.T) {
			for at := 1; ; at++ {
				f := newFamily(t, tenant.Settings{})
				f.mayHaveClaimed()
				image, fetched := f.stores(f.prod, "config", "layer"), f.stores(f.cache, "config of it", "layer")
				top := index(image, fetched)
				f.meta.reset(func(n int) {
					if n == at {
						disturb(f)
						if _, err := f.Meta.PurgeDeleted(ctx, 1000); err != nil {
							t.Error(err)
						}
					}
				})
				a := f.put("/v2/app/manifests/1", "", top)
				f.meta.mu.Lock()
				calls := len(f.meta.calls)
				f.meta.mu.Unlock()
				f.meta.reset(nil)
				switch {
				case a.Status == 201:
					f.alone([]string{top, image, fetched}, []string{"config", "config of it", "layer"})
				case a.Status != 404:
					t.Errorf("before call %d: %d %s", at, a.Status, a.Body)
				}
				if err := f.Meta.CheckRows(ctx, func(found meta.Finding) { t.Errorf("%s: %s", found.Invariant, found.Detail) }); err != nil {
					t.Error(err)
				}
				if calls < at { // it was not disturbed any more
					if a.Status != 201 {
						t.Errorf("undisturbed: %d %s", a.Status, a.Body)
					}
					return
				}
			}
		})
	}
}
