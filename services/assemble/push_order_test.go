package assemble_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/tools/testserver"
)

// TestG3_PushBesideAChain_Embedded pushes, as clients do, to a registry with a
// chain, in one process on its directory.
func TestG3_PushBesideAChain_Embedded(t *testing.T) {
	pushBeside(t, func(seed string) *world { return startEmbedded(t, seed, chained) })
}

// TestG3_PushBesideAChain_OnServers does in one process on servers.
func TestG3_PushBesideAChain_OnServers(t *testing.T) {
	pushBeside(t, func(seed string) *world { return startOnServers(t, seed, "", chained) })
}

// TestG3_PushBesideAChain_Split does in split services on three nodes.
func TestG3_PushBesideAChain_Split(t *testing.T) {
	pushBeside(t, func(seed string) *world { return startSplit(t, seed, "", chained) })
}

// pushSeed makes a tenant whose registries dev and open ask prod, and then the
// upstream at the URL for library/**. Anybody may pull from dev and push to open.
func pushSeed(upstream string) string {
	return strings.ReplaceAll(`
tenants:
  - id: acme
    registries:
      - {id: prod}
      - {id: dev, upstream_group: chain, anonymous_pull: true}
      - {id: open, upstream_group: chain, anonymous_push: true}
    upstreams:
      - {id: hub, url: "URL", host_aliases: [docker.io]}
    upstream_groups:
      - id: chain
        members: [{registry: prod, delegate: true}, {upstream: hub, include: [library/**]}]
    service_accounts:
      - {id: writer, role: WRITER, keys: [{id: key, secret_file: secret}]}
      - {id: reader, role: READER, keys: [{id: key, secret_file: secret}]}
`, "URL", upstream)
}

// order is a deployment in which clients push, each in the order of its questions.
type order struct {
	*world
	host string
}

// anonymous is the repository as a client sees it that sends no credential.
func (o order) anonymous(name string) repository {
	return repository{deployment{base: o.registry(o.host), client: o.client}, name}
}

// token is the repository as the account sees it with a token that was asked for
// the actions; without an account, as anyone does.
func (o order) token(t *testing.T, account, name, actions string) repository {
	t.Helper()
	r := o.anonymous(name)
	if account != "" {
		r.client = o.as(account)
	}
	var got struct{ Token string }
	query := url.Values{"scope": {"repository:" + name + ":" + actions}, "service": {o.host}}
	r.get(t, "/token?"+query.Encode()).want(t, http.StatusOK).decode(t, &got)
	r.client = &http.Client{Transport: bearing{o.client.Transport, got.Token}}
	return r
}

// looks are the HEAD by which a client finds out what it need not push.
func (r repository) looks(t *testing.T, tag string, img ocitest.Image) []answer {
	t.Helper()
	answers := []answer{r.head(t, r.at("manifests/%s", tag)), r.head(t, r.at("manifests/%s", img.Manifest.Digest))}
	for _, b := range img.Blobs() {
		answers = append(answers, r.head(t, r.at("blobs/%s", b.Digest)))
	}
	return answers
}

// wantAll fails the test unless all answers have the status.
func wantAll(t *testing.T, status int, answers []answer) []answer {
	t.Helper()
	for _, a := range answers {
		a.want(t, status)
	}
	return answers
}

// wantChallenged fails the test unless each HEAD is answered with the challenge
// for the repository.
func (o order) wantChallenged(t *testing.T, r repository, tag string, img ocitest.Image) {
	t.Helper()
	for _, a := range wantAll(t, http.StatusUnauthorized, r.looks(t, tag, img)) {
		want := `/token",service="` + o.host + `",scope="repository:` + r.name + `:pull"`
		if h := a.header.Get("WWW-Authenticate"); !strings.HasPrefix(h, "Bearer realm=") || !strings.HasSuffix(h, want) {
			t.Errorf("%s: challenge %q, want one that ends with %s", a.what, h, want)
		}
	}
}

// pushBeside pushes images that others of the chain have already, whatever the
// deployment's shape. What is pushed must be there, all of it, without the chain.
func pushBeside(t *testing.T, start func(seed string) *world) {
	up := testserver.StartRegistry(t, testserver.RegistryOptions{})
	prods, hubs := ocitest.NewImage(61, 1000, 30_000), ocitest.NewImage(62, 2000)
	up.Push(t, "library/app", hubs, "1")
	w := start(pushSeed(up.URL()))
	w.repository(prodHost, "writer", "team/app").pushImage(t, prods, "1")
	dev := order{w, devHost}

	images := map[string]ocitest.Image{"team/app": prods, "library/app": hubs}
	for name, img := range images {
		dev.pulls(t, name, img)
		dev.wantChallenged(t, dev.anonymous(name), "1", img) // containerd, BuildKit
		wantAll(t, http.StatusNotFound, dev.token(t, "writer", name, "pull,push").looks(t, "1", img))
		wantAll(t, http.StatusNotFound, w.repository(devHost, "writer", name).looks(t, "1", img)) // podman, with a password
		regctl := dev.token(t, "writer", name, "pull").looks(t, "1", img)
		wantAll(t, http.StatusOK, regctl[:2]) // its copy says that there is nothing to do, unless it is forced
		wantAll(t, http.StatusNotFound, regctl[2:])
		wantAll(t, http.StatusNotFound, dev.token(t, "reader", name, "pull,push").looks(t, "1", img)) // its POST is refused, with the reason
		wantAll(t, http.StatusUnauthorized, dev.token(t, "", name, "pull,push").looks(t, "1", img))

		pushing := dev.token(t, "writer", name, "pull,push")
		pushing.pushImage(t, img, "1", "mine")
		for _, r := range []repository{dev.anonymous(name), dev.token(t, "writer", name, "pull"), pushing} {
			wantAll(t, http.StatusOK, r.looks(t, "mine", img)) // hosted content is for all that may pull
		}
	}
	order{w, openHost}.names(t, hubs)

	w.admin(t, http.MethodPatch, "/v1/tenants/acme/registries/dev", map[string]any{"upstream_group": ""}).want(t, http.StatusOK)
	alone := dev.anonymous("team/nobody-has-it")
	soon(t, "dev to be without a chain", func() bool { return alone.head(t, alone.at("manifests/1")).status == http.StatusNotFound })
	for name, img := range images {
		dev.anonymous(name).wantImage(t, "1", img)
		dev.anonymous(name).wantImage(t, "mine", img)
	}
	w.stop(t)
	w.wantSound(t)
}

const openHost = "open.acme.localhost"

// pulls pulls as clients do that have no account: a HEAD without a token is
// challenged, the token that anyone gets opens the chain. Where no push is
// possible no token is needed.
func (o order) pulls(t *testing.T, name string, img ocitest.Image) {
	t.Helper()
	o.wantChallenged(t, o.anonymous(name), "1", img)
	wantAll(t, http.StatusOK, o.token(t, "", name, "pull").looks(t, "1", img))
	wantAll(t, http.StatusOK, o.token(t, "reader", name, "pull").looks(t, "1", img))
	wantAll(t, http.StatusOK, o.repository(o.host, "reader", name).looks(t, "1", img))
	for _, r := range []repository{o.anonymous(name), o.token(t, "", name, "pull")} {
		r.wantImage(t, "1", img)
		if tags, _ := r.tags(t, ""); len(tags) != 1 {
			t.Errorf("%s has the tags %v", name, tags)
		}
	}
	if !strings.HasPrefix(name, "library/") {
		return
	}
	wantAll(t, http.StatusOK, o.anonymous("proxy/docker.io/"+name).looks(t, "1", img))
	mirror := o.anonymous(name)
	mirror.head(t, mirror.at("manifests/1?ns=docker.io")).want(t, http.StatusOK)
	mirror.head(t, mirror.at("blobs/%s?ns=docker.io", img.Config.Digest)).want(t, http.StatusOK)
}

// names pushes to a name that the upstream serves (contract row G4).
func (o order) names(t *testing.T, img ocitest.Image) {
	t.Helper()
	const name = "library/app"
	layer := img.Layers[0]
	refused := func(a answer) {
		t.Helper()
		a.want(t, http.StatusForbidden).wantCode(t, "DENIED")
		var body struct {
			Errors []struct {
				Message string
				Detail  json.RawMessage
			}
		}
		a.decode(t, &body)
		if m := body.Errors[0].Message; !strings.Contains(m, "belongs to upstream hub") || !strings.Contains(m, "log in") {
			t.Errorf("%s: refused with %q", a.what, m)
		}
	}
	for _, r := range []repository{o.anonymous(name), o.token(t, "", name, "pull,push")} {
		refused(r.send(t, request{method: http.MethodPost, target: r.at("blobs/uploads/")}))
		refused(r.postBlob(t, digest.Digest(layer.Digest), layer.Bytes))
		refused(r.mount(t, digest.Digest(layer.Digest), "mine/app"))
		refused(r.putManifest(t, "1", index(t, nil)))
	}
	o.token(t, "", "mine/app", "pull,push").pushImage(t, img, "1")
	o.anonymous("mine/app").wantImage(t, "1", img)
	o.token(t, "writer", name, "pull,push").pushImage(t, img, "2")
	o.token(t, "", name, "pull,push").pushImage(t, img, "3") // the name is taken
	o.anonymous(name).wantImage(t, "3", img)
	if tags, _ := o.anonymous(name).tags(t, ""); len(tags) != 2 {
		t.Errorf("tags of a name that is taken: %v, want those that were pushed", tags)
	}
}
