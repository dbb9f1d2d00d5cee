package assemble_test

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/tools/testserver"
)

// TestChain_Embedded pulls through a chain of one process on its directory.
func TestChain_Embedded(t *testing.T) {
	pullThrough(t, func(seed string) *world { return startEmbedded(t, seed, chained) })
}

// TestChain_OnServers does through one process on servers.
func TestChain_OnServers(t *testing.T) {
	pullThrough(t, func(seed string) *world { return startOnServers(t, seed, "", chained) })
}

// TestChain_Whole does through three processes, each of which runs all services,
// that share a Redis.
func TestChain_Whole(t *testing.T) {
	pullThrough(t, func(seed string) *world { return startWhole(t, seed, testserver.StartRedis(t).URL(), chained) })
}

// TestChain_Split does through split services on three nodes.
func TestChain_Split(t *testing.T) {
	pullThrough(t, func(seed string) *world { return startSplit(t, seed, "", chained) })
}

// TestChain_SplitWithRedis does where they share one, too.
func TestChain_SplitWithRedis(t *testing.T) {
	pullThrough(t, func(seed string) *world { return startSplit(t, seed, testserver.StartRedis(t).URL(), chained) })
}

// chainSeed makes a tenant whose registry dev asks prod, and then the upstream at
// the URL, whose tokens come from the host.
func chainSeed(url, tokens string) string {
	return fmt.Sprintf(`
tenants:
  - id: acme
    registries:
      - id: dev
        upstream_group: chain
        anonymous_pull: true
      - id: prod
    upstreams:
      - id: ghcr
        url: %q
        username: %q
        password_file: upstream-password
        auth_hosts: [%q]
        host_aliases: [ghcr.io]
        serve_anonymous: true
    upstream_groups:
      - id: chain
        members:
          - {registry: prod, delegate: true}
          - upstream: ghcr
    service_accounts:
      - id: suite
        role: ADMIN
        keys: [{id: key, secret_file: secret}]
      - id: reader
        role: READER
        keys: [{id: key, secret_file: secret}]
`, url, testserver.RegistryUser, tokens)
}

const (
	devHost  = "dev.acme.localhost"
	prodHost = "prod.acme.localhost"
)

// made is content of an image as a manifest to push, or to be found.
func made(c ocitest.Content) manifest {
	m := manifest{payload: c.Bytes}
	m.MediaType, m.Digest, m.Size = c.MediaType, digest.Digest(c.Digest), int64(len(c.Bytes))
	return m
}

// pushImage pushes all of an image, its index under the tags.
func (r repository) pushImage(t *testing.T, img ocitest.Image, tags ...string) {
	t.Helper()
	for _, b := range img.Blobs() {
		r.blobOf(t, b.MediaType, b.Bytes)
	}
	r.push(t, made(img.Manifest))
	r.push(t, made(img.Index), tags...)
}

// pull pulls an image as clients do, by GET and from the tag on. It is for any
// goroutine.
func (r repository) pull(tag string, img ocitest.Image) error {
	type step struct {
		path string
		want ocitest.Content
	}
	steps := []step{{"manifests/" + tag, img.Index}, {"manifests/" + img.Manifest.Digest.String(), img.Manifest}}
	for _, b := range img.Blobs() {
		steps = append(steps, step{"blobs/" + b.Digest.String(), b})
	}
	for _, s := range steps {
		a, err := r.try(request{method: http.MethodGet, target: r.at("%s", s.path)})
		switch {
		case err != nil:
			return err
		case a.status != http.StatusOK:
			return fmt.Errorf("%s: status %d: %s", a.what, a.status, clip(string(a.body)))
		case !bytes.Equal(a.body, s.want.Bytes):
			return fmt.Errorf("%s: %d bytes, which are not those of the image", a.what, len(a.body))
		}
	}
	return nil
}

// wantImage fails the test unless the image is served whole.
func (r repository) wantImage(t *testing.T, tag string, img ocitest.Image) {
	t.Helper()
	if err := r.pull(tag, img); err != nil {
		t.Fatal(err)
	}
}

// wantResolved fails the test unless the admin API tells that story of how dev
// resolves the reference.
func (w *world) wantResolved(t *testing.T, reference, story string) {
	t.Helper()
	var got struct {
		Outcome string
		Answers []struct {
			Member, Outcome, Detail string
			Wins                    bool
		}
	}
	w.admin(t, http.MethodGet, "/v1/tenants/acme/registries/dev:resolve?reference="+reference, nil).want(t, http.StatusOK).decode(t, &got)
	var told []string
	for _, a := range got.Answers {
		line := strings.TrimPrefix(a.Member, "tenants/acme/") + " " + a.Outcome
		if a.Wins {
			line += "!"
		}
		told = append(told, line)
	}
	if is := strings.Join(told, ", "); is != story {
		t.Errorf("%s resolves as\n %s, want\n %s", reference, is, story)
	}
}

// pullThrough tells the story of a chain dev → prod → upstream, the same whatever
// the deployment's shape.
func pullThrough(t *testing.T, start func(seed string) *world) {
	up := testserver.StartRegistry(t, testserver.RegistryOptions{Token: true})
	const remote, later, team = "library/app", "library/later", "team/app"
	img, other := ocitest.NewImage(1, 1000, 300_000), ocitest.NewImage(2, 2000)
	up.Push(t, remote, img, "1", "latest")
	up.Push(t, later, other, "1")
	w := start(chainSeed(up.URL(), up.Tokens.Addr()))
	in := func(host, account, name string) repository { return w.repository(host, account, name) }
	anybody := func(name string) repository {
		return repository{deployment{base: w.registry(devHost), client: w.client}, name}
	}

	// One image in dev, one in prod: no one else is asked.
	devs, prods := ocitest.NewImage(3, 1000), ocitest.NewImage(4, 1000)
	in(devHost, "suite", "team/dev").pushImage(t, devs, "1")
	in(prodHost, "suite", team).pushImage(t, prods, "1", "prod")
	anybody("team/dev").wantImage(t, "1", devs)
	anybody(team).wantImage(t, "1", prods)
	w.wantResolved(t, "team/dev:1", "registries/dev FOUND!")
	w.wantResolved(t, team+":1", "registries/dev NOT_HERE, registries/prod FOUND!")
	if n := up.Count("", "*"); n != 0 {
		t.Errorf("the upstream saw %d requests for what is hosted: %+v", n, up.Requests())
	}

	// One upstream only: it is fetched once, on the first of three ways.
	pullRemote(t, w, up, remote, img)
	w.wantResolved(t, remote+":1", "registries/dev NOT_HERE, registries/prod NOT_HERE, upstreams/ghcr FOUND!")
	w.wantResolved(t, "library/nobody-has-it:1", "registries/dev NOT_HERE, registries/prod NOT_HERE, upstreams/ghcr NOT_HERE")
	nobody := anybody("library/nobody-has-it")
	nobody.get(t, nobody.at("manifests/1")).want(t, http.StatusNotFound).wantCode(t, "MANIFEST_UNKNOWN")

	// Lists are merged.
	in(devHost, "suite", team).pushImage(t, prods, "dev")
	if tags, _ := anybody(team).tags(t, ""); !slices.Equal(tags, []string{"1", "dev", "prod"}) {
		t.Errorf("the tags of dev and prod are %v", tags)
	}
	if tags, _ := anybody(remote).tags(t, ""); !slices.Equal(tags, []string{"1", "latest"}) {
		t.Errorf("the tags of the upstream are %v", tags)
	}
	signing := in(prodHost, "suite", team)
	signature := signing.push(t, signing.referring(t, made(prods.Index), typeSignature, nil))
	anybody(team).wantReferrers(t, anybody(team).at("referrers/%s", prods.Index.Digest), signature)
	if got, _ := anybody(remote).referrers(t, anybody(remote).at("referrers/%s", img.Index.Digest)); len(got) != 0 {
		t.Errorf("what no one signed has the referrers %v", got)
	}

	// A push is never answered by the chain, and wins from then on.
	mine := in(devHost, "suite", remote)
	pushing := w.withToken(t, mine)
	for _, r := range []repository{mine, pushing} {
		for _, b := range img.Blobs() {
			r.head(t, r.at("blobs/%s", b.Digest)).want(t, http.StatusNotFound)
		}
	}
	pushing.head(t, pushing.at("manifests/1")).want(t, http.StatusNotFound)
	pushing.mount(t, digest.Digest(img.Layers[0].Digest), "proxy/ghcr.io/"+remote).want(t, http.StatusAccepted)
	changed := ocitest.NewImage(5, 1000, 2000)
	changed.Layers = append(changed.Layers, img.Layers[1])
	mine.pushImage(t, changed, "1")
	mine.blobOf(t, typeLayer, img.Layers[1].Bytes)
	anybody(remote).wantImage(t, "1", changed)
	anybody(remote).wantManifest(t, "1", made(changed.Index))
	w.wantResolved(t, remote+":1", "registries/dev FOUND!")
	proxied := anybody("proxy/ghcr.io/" + remote)
	in(devHost, "suite", proxied.name).putManifest(t, "2", made(img.Index)).want(t, http.StatusForbidden)

	// With the upstream out, all that was pulled still is, by tag too.
	in(devHost, "reader", later).wantImage(t, "1", other)
	w.stored(t, later, other)
	up.Stop()
	anybody(later).wantImage(t, "1", other)
	in(devHost, "reader", "proxy/ghcr.io/"+remote).wantImage(t, "1", img)
	w.admin(t, http.MethodPatch, "/v1/tenants/acme/upstreams/ghcr", map[string]any{"tag_ttl": "0s"}).want(t, http.StatusOK)
	soon(t, "the tag to be stale", func() bool {
		a := anybody(later).get(t, anybody(later).at("manifests/1")).want(t, http.StatusOK).wantBody(t, other.Index.Bytes)
		return a.header.Get("Warning") == stale && a.header.Get("Age") != ""
	})
	missing := anybody("library/never-asked-for")
	a, err := missing.try(request{method: http.MethodGet, target: missing.at("manifests/1")})
	if err != nil || a.status != http.StatusBadGateway && a.status != http.StatusServiceUnavailable {
		t.Errorf("what an upstream that is out may have: %d %s %v", a.status, clip(string(a.body)), err)
	}
	w.stop(t)
	w.wantSound(t)
}

// answered is how many GET of a path came with a token: those without were
// challenged, once by each node.
func answered(up *testserver.Registry, path string) int {
	n := 0
	for _, r := range up.Requests() {
		if r.Method == http.MethodGet && r.Path == path && r.Header.Get("Authorization") != "" {
			n++
		}
	}
	return n
}

// stored waits until all of an image is kept: clients have its last bytes a
// moment before.
func (w *world) stored(t *testing.T, name string, img ocitest.Image) {
	t.Helper()
	size := 0
	for _, b := range img.Blobs() {
		size += len(b.Bytes)
	}
	soon(t, name+" to be stored", func() bool {
		var kept struct {
			Manifests string `json:"manifest_count"`
			Size      string `json:"size_bytes"`
		}
		w.admin(t, http.MethodGet, "/v1/tenants/acme/upstreams/ghcr/repositories/"+name, nil).want(t, http.StatusOK).decode(t, &kept)
		return kept.Manifests == "2" && kept.Size == fmt.Sprint(size)
	})
}

// pullRemote pulls what only the upstream has, in all three ways and with all
// that clients ask.
func pullRemote(t *testing.T, w *world, up *testserver.Registry, name string, img ocitest.Image) {
	t.Helper()
	r := repository{deployment{base: w.registry(devHost), client: w.client}, name}
	layer := img.Layers[1]
	r.wantImage(t, "1", img)
	for _, c := range append(img.Blobs(), img.Manifest) {
		kind := "blobs/"
		if c.MediaType == img.Manifest.MediaType {
			kind = "manifests/"
		}
		if n := answered(up, "/v2/"+name+"/"+kind+c.Digest.String()); n != 1 {
			t.Errorf("%s%s was asked for %d times, want 1", kind, c.Digest, n)
		}
	}
	if n := up.Count(http.MethodHead, "*"); n != 0 {
		t.Errorf("%d HEAD before GET: a cache in the middle fetches only on GET", n)
	}
	w.stored(t, name, img)
	up.Forget()
	r.wantImage(t, "1", img)
	r.wantImage(t, img.Index.Digest.String(), img)
	pulling := order{w, devHost}.token(t, "", name, "pull") // without a token, a HEAD could be that of a push
	pulling.wantManifest(t, "1", made(img.Index))
	pulling.wantBlob(t, digest.Digest(layer.Digest), layer.Bytes)
	part := r.get(t, r.at("blobs/%s", layer.Digest), "Range", "bytes=1000-1999").want(t, http.StatusPartialContent)
	part.wantBody(t, layer.Bytes[1000:2000]).wantHeader(t, "Content-Range", fmt.Sprintf("bytes 1000-1999/%d", len(layer.Bytes)))
	// Under the names of the upstream a right to it is needed: reader has all.
	byPath := w.repository(devHost, "reader", "proxy/ghcr.io/"+name)
	byPath.wantImage(t, "1", img)
	byPath.name = "proxy/ghcr/" + name
	byPath.wantImage(t, "1", img)
	mirror := w.repository(devHost, "reader", name)
	mirror.get(t, mirror.at("manifests/1?ns=ghcr.io")).want(t, http.StatusOK).
		wantBody(t, img.Index.Bytes).wantHeader(t, "OCI-Namespace", "ghcr.io")
	mirror.get(t, mirror.at("manifests/1?ns=unknown.example")).want(t, http.StatusNotFound)
	if n := up.Count("", "*"); n != 0 {
		t.Errorf("the upstream was asked %d times for what is kept: %+v", n, up.Requests())
	}
}
