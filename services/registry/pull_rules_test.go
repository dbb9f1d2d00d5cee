package registry_test

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/cosign"
	"github.com/berth-registry/berth/pkg/cosign/cosigntest"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/front"
	"github.com/berth-registry/berth/services/internal/fronttest"
	"github.com/berth-registry/berth/services/registry"
)

// unreadable is a store whose referrers cannot be read while it is down.
type unreadable struct {
	registry.Meta
	down atomic.Bool
}

func (u *unreadable) ListReferrers(ctx context.Context, r meta.Repo, subject oci.Digest, artifactType string, p meta.Page) ([]meta.Referrer, error) {
	if u.down.Load() {
		return nil, fault.Down(errors.New("cut off"), "the database")
	}
	return u.Meta.ListReferrers(ctx, r, subject, artifactType, p)
}

// ruled is a bench with an image of repository app, its index, and a rule that asks for a
// signature and an SBOM.
type ruled struct {
	*bench
	store        *unreadable
	ahead        *atomic.Int64
	key          cosigntest.Signer
	rule         meta.PullRule
	image, index string // digests
}

func newRuled(t *testing.T, change func(*meta.PullRule)) *ruled {
	t.Helper()
	r := &ruled{ahead: &atomic.Int64{}, key: cosigntest.New(cosigntest.P256)}
	r.bench = startConfigured(t, front.NotConfigured("proxy", "proxy_url"), tenant.Settings{}, func(c *registry.Config) {
		r.store = &unreadable{Meta: c.Meta}
		c.Meta, c.Now = r.store, func() time.Time { return time.Now().Add(time.Duration(r.ahead.Load())) }
	})
	image := r.bench.image("app", "one")
	r.image = r.pushed("/v2/app/manifests/1", image)
	r.index = r.pushed("/v2/app/manifests/all", index(image))
	rule := meta.PullRule{
		Tenant: r.site.Tenant, Slug: "signed", Repositories: []string{"app"}, Enforced: true,
		Keys: []string{cosigntest.New(cosigntest.Ed25519).PEM(), r.key.PEM()}, ArtifactTypes: []string{"application/spdx+json"},
	}
	change(&rule)
	made, err := r.Meta.CreatePullRule(t.Context(), fronttest.By(), rule)
	if err != nil {
		t.Fatal(err)
	}
	r.rule = made
	r.Sites.Clear()
	return r
}

func (r *ruled) update(change func(*meta.PullRule)) {
	r.t.Helper()
	change(&r.rule)
	after, err := r.Meta.UpdatePullRule(r.t.Context(), fronttest.By(), r.rule)
	if err != nil {
		r.t.Fatal(err)
	}
	r.rule = after
	r.Sites.Clear()
}

// accompany signs a manifest and gives it an SBOM.
func (r *ruled) accompany(d string) {
	r.t.Helper()
	subject, err := r.Meta.FindManifest(r.t.Context(), r.repo("app"), oci.Reference{Digest: oci.Digest(d)})
	if err != nil {
		r.t.Fatal(err)
	}
	payload := r.key.Layer(cosigntest.Payload("", oci.Digest(d)))
	signature, config := cosigntest.Simple(payload)
	r.PutBlob(r.repo("app"), config.Bytes)
	r.PutBlob(r.repo("app"), payload.Bytes)
	r.pushed("/v2/app/manifests/"+cosign.Tag(oci.Digest(d)), string(signature.Bytes))
	about := ocitest.New(subject.MediaType, subject.Payload)
	r.PutBlob(r.repo("app"), ocitest.Empty().Bytes)
	sbom := referrer(string(about.Bytes), "application/spdx+json", nil)
	r.pushed("/v2/app/manifests/"+digestOf(sbom), sbom)
}

// want pulls each reference, by GET and HEAD.
func (r *ruled) want(status int, references ...string) {
	r.t.Helper()
	for _, ref := range references {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			a := r.do(method, "/v2/app/manifests/"+ref)
			if a.Status != status {
				r.t.Errorf("%s %s: %d %s, want %d", method, ref, a.Status, a.Body, status)
			}
			if method == http.MethodGet && status == http.StatusForbidden && (a.Code() != "DENIED" || !strings.Contains(a.Body, "signed")) {
				r.t.Errorf("%s: %s", ref, a.Body)
			}
		}
	}
}

func (r *ruled) pass(d time.Duration) { r.ahead.Add(int64(d)) }

func TestW167_PullsNeedCompanions(t *testing.T) {
	r := newRuled(t, func(*meta.PullRule) {})
	all := []string{"1", "all", r.image, r.index}
	r.want(http.StatusForbidden, all...)
	a := r.do(http.MethodGet, "/v2/app/manifests/1")
	for _, part := range []string{`pull rule \"signed\"`, "needs a signature", "application/spdx+json", r.image} {
		if !strings.Contains(a.Body, part) {
			t.Errorf("the refusal does not say %q: %s", part, a.Body)
		}
	}
	other := r.bench.image("other", "two")
	r.expect("another repository", r.do(http.MethodGet, "/v2/other/manifests/"+r.pushed("/v2/other/manifests/1", other)), http.StatusOK, "")
	r.accompany(r.index)
	r.want(http.StatusOK, cosign.Tag(oci.Digest(r.index))) // withheld from no client
	r.want(http.StatusForbidden, all...)                   // by the verdicts that are known
	r.pass(3 * time.Second)
	r.want(http.StatusOK, all...) // the image, too, since the index names it
}

func TestW167_RulesWithTagsAreForTags(t *testing.T) {
	r := newRuled(t, func(rule *meta.PullRule) { rule.Tags = []string{"a*"} })
	r.want(http.StatusForbidden, "all")
	r.want(http.StatusOK, "1", r.index, r.image)
}

func TestW168_ObservingRefusesNothing(t *testing.T) {
	r := newRuled(t, func(rule *meta.PullRule) { rule.Enforced = false })
	r.want(http.StatusOK, "1", "all", r.image)
	r.update(func(rule *meta.PullRule) { rule.Enforced = true })
	r.want(http.StatusForbidden, "1", "all", r.image)
	r.update(func(rule *meta.PullRule) { rule.Disabled = true })
	r.want(http.StatusOK, "1", "all", r.image)
	r.update(func(rule *meta.PullRule) { rule.Disabled, rule.Registry = false, "elsewhere" })
	r.want(http.StatusOK, "1", "all", r.image)
}

func TestW169_OutagesRefuseAs503(t *testing.T) {
	r := newRuled(t, func(*meta.PullRule) {})
	r.store.down.Store(true)
	r.want(http.StatusServiceUnavailable, "1", r.index)
	r.store.down.Store(false)
	r.accompany(r.image)
	r.want(http.StatusOK, "1")
	r.store.down.Store(true)
	r.want(http.StatusOK, "1", r.image) // the verdict is known
	r.pass(time.Hour)
	r.want(http.StatusServiceUnavailable, "1")
}

// TestW167_ManyIndexesHideNone: a platform of a signed index is pulled, whatever else names it.
func TestW167_ManyIndexesHideNone(t *testing.T) {
	r := newRuled(t, func(*meta.PullRule) {})
	r.accompany(r.index)
	image := r.bench.image("app", "one")
	for i := range 30 {
		unsigned := ocitest.Extra{Annotations: map[string]string{"night": strconv.Itoa(i)}}.Index(ocitest.New(oci.MediaTypeImageManifest, []byte(image)))
		r.pushed("/v2/app/manifests/"+unsigned.Digest.String(), string(unsigned.Bytes))
	}
	r.want(http.StatusOK, r.image, "all")
}

// TestW167_ManyReferrersHideNone: a signature is found among a hundred and more attestations.
func TestW167_ManyReferrersHideNone(t *testing.T) {
	r := newRuled(t, func(rule *meta.PullRule) { rule.ArtifactTypes = nil })
	subject, err := r.Meta.FindManifest(t.Context(), r.repo("app"), oci.Reference{Digest: oci.Digest(r.image)})
	if err != nil {
		t.Fatal(err)
	}
	about := ocitest.New(subject.MediaType, subject.Payload)
	attach := func(artifactType string, layer ocitest.Content, night int) {
		r.PutBlob(r.repo("app"), layer.Bytes)
		m := ocitest.Extra{Subject: &about.Descriptor, ArtifactType: artifactType, Annotations: map[string]string{"night": strconv.Itoa(night)}}.Manifest(ocitest.Empty(), layer)
		r.pushed("/v2/app/manifests/"+m.Digest.String(), string(m.Bytes))
	}
	r.PutBlob(r.repo("app"), ocitest.Empty().Bytes)
	for i := range 120 {
		attach("application/scan+json", ocitest.New("application/scan+json", []byte(`{}`)), i)
	}
	r.want(http.StatusForbidden, "1")
	attach(cosign.Bundle, ocitest.New(cosign.Bundle, r.key.Envelope(cosigntest.Statement(cosign.SignPredicate, oci.Digest(r.image)))), 0)
	r.pass(3 * time.Second)
	r.want(http.StatusOK, "1")
}

// TestW175_ImagesInDisguiseAreNoCompanions: neither a subject nor a media type makes what can be
// run a companion.
func TestW175_ImagesInDisguiseAreNoCompanions(t *testing.T) {
	r := newRuled(t, func(*meta.PullRule) {})
	about := ocitest.New(oci.MediaTypeImageManifest, []byte(r.bench.image("app", "one")))
	archive := "\x1f\x8b\x08 an archive"
	for i, types := range [][2]string{
		{"application/vnd.oci.image.config.v1+json", "application/vnd.oci.image.layer.v1.tar+gzip"},
		{"application/vnd.oci.image.CONFIG.v1+json", "application/vnd.oci.image.LAYER.v1.tar+gzip"},
		{"application/vnd.docker.anything", "application/vnd.docker.anything.else"},
		{"application/vnd.cncf.helm.config.v1+json", "application/vnd.cncf.helm.chart.content.v1.tar+gzip"},
		{"application/vnd.oci.empty.v1+json", "application/spdx+json"},
	} {
		config, layer := ocitest.New(types[0], []byte(`{}`)), ocitest.New(types[1], []byte(archive+strconv.Itoa(i)))
		r.PutBlob(r.repo("app"), config.Bytes)
		r.PutBlob(r.repo("app"), layer.Bytes)
		disguised := ocitest.Extra{Subject: &about.Descriptor}.Manifest(config, layer)
		r.pushed("/v2/app/manifests/"+cosign.Tag(oci.Digest(r.image)), string(disguised.Bytes))
		r.want(http.StatusForbidden, cosign.Tag(oci.Digest(r.image)), disguised.Digest.String())
	}
	scan := ocitest.New("application/vnd.example.scan+json", []byte(`{"findings": []}`))
	config := ocitest.Empty()
	r.PutBlob(r.repo("app"), config.Bytes)
	r.PutBlob(r.repo("app"), scan.Bytes)
	result := ocitest.Extra{Subject: &about.Descriptor, ArtifactType: scan.MediaType}.Manifest(config, scan)
	r.pushed("/v2/app/manifests/"+result.Digest.String(), string(result.Bytes))
	r.want(http.StatusOK, result.Digest.String())
	// A list of companions needs nothing either, and makes nothing that it names a companion.
	image := ocitest.New(oci.MediaTypeImageManifest, []byte(r.bench.image("app", "one")))
	image.ArtifactType = scan.MediaType
	list := ocitest.Index(image)
	r.pushed("/v2/app/manifests/"+list.Digest.String(), string(list.Bytes))
	r.want(http.StatusOK, list.Digest.String())
	r.pass(3 * time.Second)
	r.want(http.StatusForbidden, r.image)
}
