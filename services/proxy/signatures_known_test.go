package proxy_test

import (
	"context"
	"net/http"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/cosign"
	"github.com/berth-registry/berth/pkg/cosign/cosigntest"
	"github.com/berth-registry/berth/pkg/lease"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/pkg/upstream"
	"github.com/berth-registry/berth/services/proxy"
	"github.com/berth-registry/berth/tools/testserver"
)

// statements counts the statements that rules may cause.
type statements struct {
	proxy.Meta
	n atomic.Int64
}

func (s *statements) Lineage(ctx context.Context, r meta.Repo, d oci.Digest) ([]meta.Seen, error) {
	s.n.Add(1)
	return s.Meta.Lineage(ctx, r, d)
}

func (s *statements) FindManifest(ctx context.Context, r meta.Repo, ref oci.Reference) (meta.Manifest, error) {
	s.n.Add(1)
	return s.Meta.FindManifest(ctx, r, ref)
}

func (s *statements) FindBlob(ctx context.Context, r meta.Repo, d oci.Digest) (meta.Blob, error) {
	s.n.Add(1)
	return s.Meta.FindBlob(ctx, r, d)
}

func (s *statements) FindCachedTag(ctx context.Context, r meta.Repo, tag string) (meta.CachedTag, error) {
	s.n.Add(1)
	return s.Meta.FindCachedTag(ctx, r, tag)
}

func (s *statements) ListReferrers(ctx context.Context, r meta.Repo, d oci.Digest, kind string, p meta.Page) ([]meta.Referrer, error) {
	s.n.Add(1)
	return s.Meta.ListReferrers(ctx, r, d, kind, p)
}

// TestT70_WarmPullsCostNothingMore: one statement each, as without a rule, and no request.
func TestT70_WarmPullsCostNothingMore(t *testing.T) {
	key := cosigntest.New(cosigntest.P256)
	w, up := newRules(t, signedBy(nil, key.PEM()))
	sign(up, testserver.ScriptedName, up.Image.Index, key)
	counted := &statements{Meta: w.Meta}
	w.nodes[0] = proxy.NewHandler(proxy.New(proxy.Config{
		Meta: counted, Blobs: w.Blobs, Secrets: plain{}, Leases: lease.NewMemory(), Fetches: w.fetches, Log: w.Log,
		Upstreams: upstream.New(upstream.Options{Allow: []upstream.Network{{Prefix: netip.MustParsePrefix("127.0.0.0/8")}}, Log: w.Log}),
	}))
	w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, up.Image)
	for _, reference := range []string{testserver.ScriptedTag, up.Image.Index.Digest.String(), up.Image.Manifest.Digest.String()} {
		up.Forget()
		counted.n.Store(0)
		w.served(manifests + reference)
		if statements, requests := counted.n.Load(), up.Count("", "*"); statements != 1 || requests != 0 {
			t.Errorf("%s: %d statements, %d requests", reference, statements, requests)
		}
	}
}

// TestT70_OutagesAfterARestart serves what was verified, and what its index was.
func TestT70_OutagesAfterARestart(t *testing.T) {
	for name, push := range forms(cosigntest.New(cosigntest.P256)) {
		t.Run(name, func(t *testing.T) {
			w, up := newRules(t, nil)
			w.change("hub", signedBy(nil, push.key))
			push.push(up, up.Image.Index)
			w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, up.Image)
			await.True(t, time.Minute, "all fetches end", func() bool { return w.fetches.Running() == 0 })
			get := w.restart()
			up.Script(testserver.FaultRefused)
			for _, reference := range []string{up.Image.Manifest.Digest.String(), testserver.ScriptedTag, up.Image.Index.Digest.String()} {
				if a := get(manifests + reference); a.Status != http.StatusOK {
					t.Errorf("%s: %d %s", reference, a.Status, a.Body)
				}
			}
		})
	}
}

// TestT70_OtherKeysDecideAgain: what a removed key verified is refused.
func TestT70_OtherKeysDecideAgain(t *testing.T) {
	one, two := cosigntest.New(cosigntest.P256), cosigntest.New(cosigntest.Ed25519)
	w, up := newRules(t, signedBy(nil, one.PEM()))
	sign(up, testserver.ScriptedName, up.Image.Index, one)
	ways := append(waysTo(testserver.ScriptedTag), waysTo(up.Image.Manifest.Digest.String())...)
	by := func(keys ...string) {
		w.change("hub", func(s *meta.UpstreamSettings) { s.Signatures = nil; signedBy(nil, keys...)(s) })
	}
	w.served(ways...)
	by(two.PEM())
	w.refused("signatures", ways...)
	by(two.PEM(), one.PEM())
	w.served(ways...)
	by(two.PEM())
	w.refused("signatures", ways...)
	pushSimple(up, testserver.ScriptedName, up.Image.Index, two.Layer(cosigntest.Payload("", up.Image.Index.Digest)))
	w.pass(31 * time.Second) // negative_ttl
	w.served(ways...)
	w.change("hub", func(s *meta.UpstreamSettings) { s.Signatures = nil })
	w.served(ways...)
}

// TestT70_AnOutageIsNotUnsigned: the image is cached since before there was a rule, and its
// signature cannot be read.
func TestT70_AnOutageIsNotUnsigned(t *testing.T) {
	for name, form := range forms(cosigntest.New(cosigntest.P256)) {
		for _, part := range form.parts {
			for _, f := range []testserver.Fault{
				testserver.Fault500, testserver.FaultForbidden, testserver.FaultUnauthorized, testserver.FaultEdge404, testserver.FaultGarbageJSON,
			} {
				if !slices.Contains(f.On(), part) {
					continue
				}
				t.Run(name+" "+string(part)+" "+f.String(), func(t *testing.T) {
					w, up := newRules(t, nil)
					form.push(up, up.Image.Index)
					w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, up.Image)
					w.change("hub", signedBy(nil, form.key))
					up.Script(f, part, testserver.PartPing)
					for range 2 {
						if a := w.get(manifests + testserver.ScriptedTag); a.Status < 500 {
							t.Errorf("%d %s", a.Status, a.Body)
						}
					}
					up.Script(testserver.FaultNone)
					w.pass(time.Minute)
					w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, up.Image)
				})
			}
		}
	}
}

// form is a form of signatures, with the parts of an upstream that it is read from.
type form struct {
	key   string
	push  func(*testserver.Scripted, ocitest.Content)
	parts []testserver.Part
}

func forms(key cosigntest.Signer) map[string]form {
	const name = testserver.ScriptedName
	return map[string]form{
		"simple signing": {
			key.PEM(), func(up *testserver.Scripted, m ocitest.Content) { sign(up, name, m, key) },
			[]testserver.Part{testserver.PartManifests, testserver.PartBlobs},
		},
		"bundle": {key.PEM(), func(up *testserver.Scripted, m ocitest.Content) {
			pushBundle(up, name, m, key.Envelope(cosigntest.Statement(cosign.SignPredicate, m.Digest)))
		}, []testserver.Part{testserver.PartReferrers, testserver.PartManifests, testserver.PartBlobs}},
	}
}

// TestT70_SoonAfterThePush: an image is signed just after it was refused.
func TestT70_SoonAfterThePush(t *testing.T) {
	for name, form := range forms(cosigntest.New(cosigntest.P384)) {
		t.Run(name, func(t *testing.T) {
			w, up := newRules(t, signedBy(nil, form.key))
			w.refused("signatures", manifests+testserver.ScriptedTag)
			up.Forget()
			for range 10 {
				w.refused("signatures", manifests+testserver.ScriptedTag)
			}
			if n := up.Count("", "*"); n != 0 {
				t.Errorf("the upstream was asked %d times for what was just refused", n)
			}
			form.push(up, up.Image.Index)
			w.pass(31 * time.Second)
			w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, up.Image)
		})
	}
}
