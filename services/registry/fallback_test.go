package registry_test

import (
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/sqlitemeta"
	"github.com/berth-registry/berth/pkg/ocihttp"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/front"
	"github.com/berth-registry/berth/services/internal/fronttest"
	"github.com/berth-registry/berth/services/registry"
)

// walked is the status of a proxy service that only says that it was asked.
const walked = http.StatusTeapot

var walks = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Asked", r.Method+" "+r.URL.RequestURI()+" "+front.CallOf(r.Context()).Name)
	w.WriteHeader(walked)
})

// chained is a bench whose tenant has a registry with a group, at the site, and
// "app" in it with the image "1".
func chained(t *testing.T, s tenant.Settings) (*bench, string) {
	t.Helper()
	b := startBefore(t, walks, tenant.Settings{})
	b.Group(b.site, "chain")
	alone := b.site
	b.site = b.Registry(alone, "dev", tenant.Settings{UpstreamGroup: "chain"})
	image := b.image("app", "layer")
	b.pushed("/v2/app/manifests/1", image)
	s.UpstreamGroup = "chain"
	b.change("dev", s)
	b.Account(alone, "reader", access.Reader)
	b.Account(alone, "writer", access.Writer)
	return b, image
}

// change gives the registry at the site other settings.
func (b *bench) change(slug string, s tenant.Settings) {
	b.t.Helper()
	r, err := b.Meta.FindRegistry(b.t.Context(), b.site.Tenant, slug)
	if err != nil {
		b.t.Fatal(err)
	}
	r.Settings = s
	if _, err := b.Meta.UpdateRegistry(b.t.Context(), fronttest.By(), r); err != nil {
		b.t.Fatal(err)
	}
	b.site = b.Site(b.site.Host)
}

// pulls are the requests that pulls, and pushes before they push, are made of.
func pulls(repo, reference, digest string) []struct{ method, path string } {
	return []struct{ method, path string }{
		{"GET", "/v2/" + repo + "/manifests/" + reference},
		{"HEAD", "/v2/" + repo + "/manifests/" + reference},
		{"GET", "/v2/" + repo + "/blobs/" + digest},
		{"HEAD", "/v2/" + repo + "/blobs/" + digest},
		{"GET", "/v2/" + repo + "/tags/list"},
		{"HEAD", "/v2/" + repo + "/referrers/" + digest},
	}
}

// TestG1_PushIsNeverAnsweredByTheChain: clients do not upload what a HEAD says is
// there, and most do not say by then that they are pushing. Rights are decided
// before anything is looked up, and a refusal is none of the chain's business, except
// for lists, which it decides itself.
func TestG1_PushIsNeverAnsweredByTheChain(t *testing.T) {
	const up = walked
	for _, registry := range []struct {
		settings tenant.Settings
		callers  []caller
	}{
		{tenant.Settings{}, []caller{
			{"nobody", fronttest.Request{}, nil, 0, [6]int{401, 401, 401, 401, up, up}},
			{"reader", fronttest.Request{Basic: "reader"}, nil, 0, [6]int{up, up, up, up, up, up}},
			{"someone who might push, with a password", fronttest.Request{Basic: "writer"}, nil, 0, [6]int{up, 404, up, 404, up, up}},
			{"reader that pulls", fronttest.Request{}, reader, access.Pull, [6]int{up, up, up, up, up, up}},
			{"regctl that looks before it pushes", fronttest.Request{}, writer, access.Pull, [6]int{up, up, up, 404, up, up}},
			{"docker or containerd that pushes", fronttest.Request{}, writer, access.Pull | access.Push, [6]int{up, 404, up, 404, up, up}},
			{"token for all", fronttest.Request{}, admin, access.All, [6]int{up, 404, up, 404, up, up}},
			{"reader that tries to push", fronttest.Request{}, reader, access.Pull | access.Push, [6]int{up, 404, up, 404, up, up}},
			{"token for push alone", fronttest.Request{}, writer, access.Push, [6]int{401, 401, 401, 401, up, up}},
			{"token for nothing", fronttest.Request{}, writer, 0, [6]int{401, 401, 401, 401, up, up}},
			{"someone without rights", fronttest.Request{}, none, access.All, [6]int{404, 404, 404, 404, up, up}},
			{"an empty credential", fronttest.Request{Header: emptyBasic}, nil, 0, [6]int{401, 401, 401, 401, up, up}},
		}},
		{tenant.Settings{AnonymousPull: true}, []caller{
			{"containerd before it has a token", fronttest.Request{}, nil, 0, [6]int{up, 401, up, 401, up, up}},
			{"an empty credential", fronttest.Request{Header: emptyBasic}, nil, 0, [6]int{up, 401, up, 401, up, up}},
			{"docker or containerd that pulls", fronttest.Request{}, nobody, access.Pull, [6]int{up, up, up, up, up, up}},
			{"docker that tries to push", fronttest.Request{}, nobody, access.Pull | access.Push, [6]int{up, 401, up, 401, up, up}},
			{"containerd that pushes", fronttest.Request{}, writer, access.Pull | access.Push, [6]int{up, 404, up, 404, up, up}},
			{"someone without rights", fronttest.Request{}, none, access.All, [6]int{up, 404, up, 404, up, up}},
		}},
		{tenant.Settings{AnonymousPush: true}, []caller{
			{"containerd without an account, before it has a token", fronttest.Request{}, nil, 0, [6]int{up, 401, up, 401, up, up}},
			{"anonymous token for a pull", fronttest.Request{}, nobody, access.Pull, [6]int{up, up, up, 404, up, up}},
			{"anonymous token for a push", fronttest.Request{}, nobody, access.Pull | access.Push, [6]int{up, 404, up, 404, up, up}},
			{"reader, with a password", fronttest.Request{Basic: "reader"}, nil, 0, [6]int{up, 404, up, 404, up, up}},
		}},
		{tenant.Settings{ReadOnly: true}, []caller{
			{"someone who may push elsewhere", fronttest.Request{}, writer, access.Pull | access.Push, [6]int{up, 404, up, 404, up, up}},
			{"and pulls here", fronttest.Request{}, writer, access.Pull, [6]int{up, up, up, up, up, up}},
			{"with a password", fronttest.Request{Basic: "writer"}, nil, 0, [6]int{up, up, up, up, up, up}},
		}},
	} {
		b, image := chained(t, registry.settings)
		for _, c := range registry.callers {
			c.check(b, registry.settings, image)
		}
	}
}

// emptyBasic is the header of a client without a credential that sends one
// anyway.
var emptyBasic = fronttest.Headers("Authorization", "Basic Og==")

type caller struct {
	name    string
	request fronttest.Request
	as      func(tenant.Site) access.Principal // of a token for actions
	actions access.Actions
	want    [6]int // for what is not hosted, of each of pulls
}

func reader(s tenant.Site) access.Principal {
	return access.ServiceAccount(s.Tenant, 0, "reader", access.Reader)
}

func writer(s tenant.Site) access.Principal {
	return access.ServiceAccount(s.Tenant, 0, "writer", access.Writer)
}

func admin(s tenant.Site) access.Principal {
	return access.ServiceAccount(s.Tenant, 0, "admin", access.Admin)
}

func none(s tenant.Site) access.Principal {
	return access.Principal{Name: "serviceAccounts/none", Tenant: s.Tenant}
}
func nobody(tenant.Site) access.Principal { return access.Principal{} }

func (c caller) check(b *bench, s tenant.Settings, image string) {
	b.t.Helper()
	r := c.request
	r.Host = b.site.Host
	if c.as != nil {
		r.Bearer = b.Token(b.site, c.as(b.site), access.Repository("app", c.actions), access.Repository("gone", c.actions))
	}
	ask := func(method, path string) fronttest.Answer {
		r.Method, r.Path = method, path
		return b.Do(r)
	}
	for _, missing := range []struct{ repo, reference, digest string }{
		{"app", "2", digestOf("nothing")}, {"app", digestOf("nothing"), digestOf("nothing")}, {"gone", "1", digestOf("layer")},
	} {
		for i, p := range pulls(missing.repo, missing.reference, missing.digest) {
			got := ask(p.method, p.path)
			if got.Status != c.want[i] {
				b.t.Errorf("%+v: %s: %s %s: %d %s, want %d", s, c.name, p.method, p.path, got.Status, got.Body, c.want[i])
			}
			if scope := `scope="repository:` + missing.repo + `:`; got.Status == 401 && !strings.Contains(got.Header.Get("WWW-Authenticate"), scope) {
				b.t.Errorf("%+v: %s: %s %s: challenge %q", s, c.name, p.method, p.path, got.Header.Get("WWW-Authenticate"))
			}
			if asked := p.method + " " + p.path + " " + missing.repo; got.Status == walked && got.Header.Get("Asked") != asked {
				b.t.Errorf("%s %s: handed on as %q", p.method, p.path, got.Header.Get("Asked"))
			}
		}
	}
	for _, reference := range []string{"1", digestOf(image)} {
		for i, p := range pulls("app", reference, digestOf("layer"))[:4] {
			want := 200
			if c.want[0] == 401 || c.want[0] == 404 {
				want = c.want[0]
			}
			if got := ask(p.method, p.path); got.Status != want {
				b.t.Errorf("%+v: %s: hosted, %s %s: %d %s, want %d, not %d", s, c.name, p.method, p.path, got.Status, got.Body, want, c.want[i])
			}
		}
	}
}

// TestG2_WhoMayPushIsPromisedTheBlob: a client that sees a blob does not push it, so
// it stays for the manifest to come, whatever the token of that HEAD was for.
func TestG2_WhoMayPushIsPromisedTheBlob(t *testing.T) {
	var ahead atomic.Int64
	d := fronttest.NewWith(t, sqlitemeta.Options{Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }})
	site := d.Tenant("acme", tenant.Settings{})
	d.Serve(front.Services{Registry: registry.NewHandler(registry.New(registry.Config{Meta: d.Meta, Blobs: d.Blobs, Log: d.Log}), walks, d.Middlewares()...)})
	token := func(name string, p access.Principal) fronttest.Request {
		return fronttest.Request{Bearer: d.Token(site, p, access.Repository(name, access.Pull))}
	}
	d.Account(site, "writer", access.Writer)
	repositories := map[string]struct {
		req  fronttest.Request
		want int
	}{
		"pulled":     {token("pulled", reader(site)), 404},
		"looked-at":  {token("looked-at", writer(site)), 200},
		"basic":      {fronttest.Request{Basic: "writer"}, 200},
		"not-looked": {},
	}
	head := func(name string, r fronttest.Request) int {
		r.Method, r.Host, r.Path = "HEAD", site.Host, "/v2/"+name+"/blobs/"+digestOf(name)
		return d.Do(r).Status
	}
	for name := range repositories {
		d.PutBlob(fronttest.Repo(site, name), []byte(name))
	}
	ahead.Store(int64(meta.DefaultLifetimes.Grace - time.Hour))
	for name, c := range repositories {
		if name != "not-looked" && head(name, c.req) != 200 {
			t.Errorf("%s: the blob is not there", name)
		}
	}
	ahead.Store(int64(meta.DefaultLifetimes.Grace + time.Hour))
	for {
		n, err := d.Meta.UnlinkBlobs(t.Context(), 10)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			break
		}
	}
	for name, c := range repositories {
		if c.want == 0 {
			c.req, c.want = token(name, writer(site)), 404
		}
		if got := head(name, c.req); got != c.want {
			t.Errorf("%s: %d after the time that a push has, want %d", name, got, c.want)
		}
	}
}

// What is not a pull is for hosted content, as it was.
func TestChainAnswersPullsOnly(t *testing.T) {
	b, _ := chained(t, tenant.Settings{})
	for _, r := range []struct {
		method, path string
		status       int
	}{
		{"DELETE", "/v2/app/manifests/2", 404},
		{"DELETE", "/v2/app/manifests/" + digestOf("nothing"), 404},
		{"DELETE", "/v2/app/blobs/" + digestOf("nothing"), 404},
		{"DELETE", "/v2/gone/blobs/" + digestOf("nothing"), 404},
		{"PUT", "/v2/app/manifests/2", 400},
		{"POST", "/v2/app/manifests/2", 405},
		{"PATCH", "/v2/app/blobs/" + digestOf("nothing"), 405},
		{"POST", "/v2/app/tags/list", 405},
		{"DELETE", "/v2/app/referrers/" + digestOf("nothing"), 405},
		{"GET", "/v2/_catalog", 200},
		{"GET", "/v2/app/manifests/.x", 404},
		{"GET", "/v2/app/blobs/sha256:x", 400},
	} {
		if got := b.do(r.method, r.path); got.Status != r.status {
			b.t.Errorf("%s %s: %d %s, want %d", r.method, r.path, got.Status, got.Body, r.status)
		}
	}
}

// Without a group no one is asked, and the 404 of a push is the same with one.
func TestMissesWithoutAGroup(t *testing.T) {
	b, _ := chained(t, tenant.Settings{})
	token := b.Token(b.site, admin(b.site), access.Repository("app", access.All))
	ask := func(method, path string) fronttest.Answer {
		return b.Do(fronttest.Request{Host: b.site.Host, Method: method, Path: path, Bearer: token})
	}
	requests := pulls("app", "2", digestOf("nothing"))
	var with []fronttest.Answer
	for _, p := range requests {
		with = append(with, ask(p.method, p.path))
	}
	b.change("dev", tenant.Settings{})
	for i, p := range requests {
		got := ask(p.method, p.path)
		want := map[bool]int{true: 404, false: 200}[i < 4]
		if got.Status != want {
			t.Errorf("%s %s: %d %s", p.method, p.path, got.Status, got.Body)
		}
		if with[i].Status != walked {
			b.Same(p.method+" "+p.path, with[i], got)
		}
	}
}

// TestE10_OutageOfHostedContentStopsTheWalk: what cannot be looked up, or has
// lost its bytes, is hosted as far as anyone knows.
func TestE10_OutageOfHostedContentStopsTheWalk(t *testing.T) {
	b, _ := chained(t, tenant.Settings{})
	err := filepath.WalkDir(b.Dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		return os.Remove(path)
	})
	if err != nil {
		t.Fatal(err)
	}
	path := "/v2/app/blobs/" + digestOf("layer")
	b.expect("the bytes are lost", b.do("GET", path), 503, "UNAVAILABLE")
	if err := b.Meta.Close(); err != nil {
		t.Fatal(err)
	}
	token := b.Token(b.site, reader(b.site), access.Repository("app", access.Pull))
	for _, p := range pulls("app", "2", digestOf("layer"))[:4] {
		got := b.Do(fronttest.Request{Method: p.method, Host: b.site.Host, Path: p.path, Bearer: token})
		if got.Status < 500 {
			t.Errorf("the database is gone: %s %s: %d %s", p.method, p.path, got.Status, got.Body)
		}
	}
}

// TestE12_HopsEndTheWalk: and nothing but the walk.
func TestE12_HopsEndTheWalk(t *testing.T) {
	b, _ := chained(t, tenant.Settings{})
	for hops, want := range map[int]int{0: walked, ocihttp.MaxHops: walked, ocihttp.MaxHops + 1: 502} {
		for _, p := range pulls("app", "2", digestOf("nothing")) {
			got := b.Do(fronttest.Request{
				Method: p.method, Host: b.site.Host, Path: p.path, Basic: "reader", Header: fronttest.Headers(ocihttp.HeaderHops, fmt.Sprint(hops)),
			})
			if got.Status != want {
				t.Errorf("%d hops: %s %s: %d %s, want %d", hops, p.method, p.path, got.Status, got.Body, want)
			}
		}
		b.expect("hosted", b.do("GET", "/v2/app/manifests/1", ocihttp.HeaderHops, fmt.Sprint(hops)), 200, "")
	}
}
