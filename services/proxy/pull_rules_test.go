package proxy_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/cosign"
	"github.com/berth-registry/berth/pkg/cosign/cosigntest"
	"github.com/berth-registry/berth/pkg/cosign/keyless"
	"github.com/berth-registry/berth/pkg/cosign/keyless/keylesstest"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/lease"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/fronttest"
	"github.com/berth-registry/berth/services/proxy"
	"github.com/berth-registry/berth/tools/testserver"
)

func (w *world) pullRule(slug, registry string, key cosigntest.Signer) {
	w.t.Helper()
	w.addPullRule(meta.PullRule{Slug: slug, Registry: registry, Keys: []string{key.PEM()}})
}

// addPullRule makes an enforced rule.
func (w *world) addPullRule(rule meta.PullRule) {
	w.t.Helper()
	rule.Tenant, rule.Enforced = w.dev.Tenant, true
	_, err := w.Meta.CreatePullRule(w.t.Context(), fronttest.By(), rule)
	if err != nil {
		w.t.Fatal(err)
	}
	w.Sites.Clear()
}

// withheld fails the test unless all paths are refused by the pull rule.
func (w *world) withheld(slug string, paths ...string) {
	w.t.Helper()
	for _, path := range paths {
		if a := w.get(path); a.Status != http.StatusForbidden || a.Code() != "DENIED" || !strings.Contains(a.Body, slug) {
			w.t.Errorf("%s: %d %s", path, a.Status, a.Body)
		}
	}
}

// TestW176_CachedImagesObeyPullRules: an image of an upstream is refused, also from the cache,
// until it is signed there; then it is served while the upstream is out.
func TestW176_CachedImagesObeyPullRules(t *testing.T) {
	w, up := newHub(t)
	key := cosigntest.New(cosigntest.P256)
	ways := []string{manifests + testserver.ScriptedTag, manifests + up.Image.Index.Digest.String(), manifests + up.Image.Manifest.Digest.String()}
	w.served(ways...)
	w.pullRule("signed", "dev", key)
	w.withheld("signed", ways...)
	trace, err := w.proxy.Resolve(t.Context(), w.dev.Tenant, "acme", "dev", testserver.ScriptedName, oci.Reference{Tag: testserver.ScriptedTag}, false, nil)
	if err != nil || trace.Outcome != chain.Denied || len(trace.PullRules) != 1 || trace.PullRules[0].Rule != "signed" || trace.PullRules[0].Lacking == "" {
		t.Errorf("resolved as %+v, %v", trace, err)
	}
	sign(up, testserver.ScriptedName, up.Image.Index, key)
	w.pass(time.Minute) // what the upstream said of signatures is as old as negative_ttl
	w.served(ways...)
	await.True(t, time.Minute, "all fetches end", func() bool { return w.fetches.Running() == 0 })
	up.Stop()
	w.pass(10 * time.Minute)
	w.served(ways...)
}

// TestW170_PullRulesAskForIdentities: a signature by another identity does not count.
func TestW170_PullRulesAskForIdentities(t *testing.T) {
	w, up := newHub(t)
	local, path := keylesstest.New(), manifests+testserver.ScriptedTag
	w.addPullRule(meta.PullRule{
		Slug: "signed", TrustedRoot: local.Root(keylesstest.Timestamps), Identities: []meta.SignerIdentity{{Issuer: "https://login.example", Subject: "*@example.com"}},
	})
	w.withheld("signed", path)
	signBy := func(issuer string) {
		t.Helper()
		how := keylesstest.Signing{Identity: keyless.Identity{Issuer: issuer, Subject: "ada@example.com"}, Stamped: true}
		pushSimple(up, testserver.ScriptedName, up.Image.Index, local.Layer(cosigntest.Payload("registry.example/app", up.Image.Index.Digest), how))
		w.pass(time.Minute)
	}
	signBy("https://elsewhere.example")
	w.withheld("it is by another identity, ada@example.com of https://elsewhere.example", path)
	signBy("https://login.example")
	w.served(path)
}

// TestW176_OutagesOfUpstreamsWithholdAs503: an upstream that cannot be asked for signatures
// makes no image look unsigned.
func TestW176_OutagesOfUpstreamsWithholdAs503(t *testing.T) {
	w, up := newHub(t)
	w.served(manifests + testserver.ScriptedTag)
	w.pullRule("signed", "", cosigntest.New(cosigntest.P256))
	up.Stop()
	if a := w.get(manifests + testserver.ScriptedTag); a.Status != http.StatusServiceUnavailable {
		t.Errorf("%d %s", a.Status, a.Body)
	}
}

// TestV66_PullRulesOfCachedOnlyHostsAskNoUpstream: what is not stored is not asked for, and
// makes no image look unsigned, also not to callers for whom the upstream is asked.
func TestV66_PullRulesOfCachedOnlyHostsAskNoUpstream(t *testing.T) {
	w, up := newHub(t)
	key, path := cosigntest.New(cosigntest.P256), manifests+testserver.ScriptedTag
	w.served(path)
	sign(up, testserver.ScriptedName, up.Image.Index, key)
	w.pullRule("signed", "", key)
	await.True(t, time.Minute, "all fetches end", func() bool { return w.fetches.Running() == 0 })
	asked := up.Count("", "*")
	pull := func() error {
		_, err := w.proxy.GetManifest(t.Context(), proxy.GetManifestRequest{
			PullRequest: proxy.PullRequest{
				Tenant: w.dev.Tenant, TenantSlug: "acme", Registry: "dev", Mirror: tenant.Mirror{Slug: "engines", Group: "chain", CachedOnly: true},
				Name: testserver.ScriptedName, CacheOnly: true, Requested: fronttest.Repo(w.dev, testserver.ScriptedName), PullRules: 1,
			},
			Reference: oci.Reference{Tag: testserver.ScriptedTag},
		})
		return err
	}
	if err := pull(); fault.KindOf(err) != fault.Unavailable {
		t.Error(err)
	}
	if n := up.Count("", "*") - asked; n != 0 {
		t.Errorf("the upstream saw %d requests", n)
	}
	w.served(path) // and stores the signature
	await.True(t, time.Minute, "all fetches end", func() bool { return w.fetches.Running() == 0 })
	asked = up.Count("", "*")
	w.pass(6 * time.Minute) // past the verdict
	if err := pull(); err != nil || up.Count("", "*") != asked {
		t.Errorf("%v, %d requests", err, up.Count("", "*")-asked)
	}
}

// TestW176_MembersAskTheirRules: the rules of the registry that answers count for what is
// pulled through another one.
func TestW176_MembersAskTheirRules(t *testing.T) {
	w := newWorld(t)
	w.chain(meta.Member{Registry: "prod"})
	image := ocitest.NewImage(1, 1000)
	r := fronttest.Repo(w.prod, "app")
	w.PutBlob(r, image.Config.Bytes)
	for _, layer := range image.Layers {
		w.PutBlob(r, layer.Bytes)
	}
	w.PutManifest(r, image.Manifest.Bytes, "1")
	w.served("/v2/app/manifests/1")
	w.pullRule("elsewhere", "main", cosigntest.New(cosigntest.P256))
	w.served("/v2/app/manifests/1")
	w.pullRule("prod", "prod", cosigntest.New(cosigntest.P256))
	w.withheld("prod", "/v2/app/manifests/1", "/v2/app/manifests/"+image.Manifest.Digest.String())
}

// TestW177_NewDigestsAreHeld: the refused pull begins the time.
func TestW177_NewDigestsAreHeld(t *testing.T) {
	w, up := newHub(t)
	w.addPullRule(meta.PullRule{Slug: "aged", MinAge: 24 * time.Hour})
	ways := []string{manifests + testserver.ScriptedTag, manifests + up.Image.Index.Digest.String()}
	w.withheld("aged", ways...)
	w.pass(23 * time.Hour)
	w.withheld("aged", ways...)
	w.pass(time.Hour + time.Minute)
	w.served(append(ways, manifests+up.Image.Manifest.Digest.String())...) // in the index, which is old enough
	next := ocitest.NewImage(7, 1000)
	up.Push(testserver.ScriptedName, next, testserver.ScriptedTag)
	w.pass(time.Hour) // past tag_ttl
	w.withheld("aged", ways[0])
	w.served(ways[1])
}

// TestW167_NodesAgree: what one node refused, another one does too, and a signature that is
// pushed counts at both within seconds.
func TestW167_NodesAgree(t *testing.T) {
	w := newWorld(t)
	w.node(lease.NewMemory(), access.NewInternal("0123456789abcdef0123456789abcdef"))
	w.chain(meta.Member{Registry: "prod"})
	image, key, r := ocitest.NewImage(1, 1000), cosigntest.New(cosigntest.P256), fronttest.Repo(w.prod, "app")
	payload := key.Layer(cosigntest.Payload("", image.Manifest.Digest))
	signature, config := cosigntest.Simple(payload)
	for _, b := range append([]ocitest.Content{image.Config, payload, config}, image.Layers...) {
		w.PutBlob(r, b.Bytes)
	}
	w.PutManifest(r, image.Manifest.Bytes, "1")
	w.pullRule("signed", "", key)
	status := func(node string) int {
		return w.Do(fronttest.Request{Host: w.dev.Host, Path: "/v2/app/manifests/1", Header: fronttest.Headers(nodeHeader, node)}).Status
	}
	for _, node := range []string{"0", "1"} {
		if got := status(node); got != http.StatusForbidden {
			t.Errorf("node %s: %d", node, got)
		}
	}
	w.PutManifest(r, signature.Bytes, cosign.Tag(image.Manifest.Digest))
	for _, node := range []string{"0", "1"} {
		await.True(t, 10*time.Second, "the signature to count", func() bool { return status(node) == http.StatusOK })
	}
}
