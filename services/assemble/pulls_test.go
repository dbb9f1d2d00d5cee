package assemble_test

import (
	"net/http"
	"testing"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/sqlitemeta"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/pkg/retention"
)

const pullsSeed = `
tenants:
  - id: acme
    registries: [{id: prod}, {id: dev, upstream_group: chain}]
    upstream_groups:
      - id: chain
        members: [{registry: prod, delegate: true}]
    service_accounts:
      - {id: suite, role: ADMIN, keys: [{id: key, secret_file: secret}]}
`

// TestW118_PullsCountForTheMemberThatAnswered pulls from the registry itself, through a
// chain and at a mirror host, whose name is a capability.
func TestW118_PullsCountForTheMemberThatAnswered(t *testing.T) {
	t.Parallel()
	w := startEmbedded(t, pullsSeed)
	img := ocitest.NewImage(70, 1000)
	at := w.repository("prod.acme.localhost", "suite", "team/app")
	at.pushImage(t, img, "1")
	d := img.Manifest.Digest.String()
	through := w.repository("dev.acme.localhost", "suite", "team/app")
	mirror := w.mirrored(w.mirrorHost(t, "engines", map[string]any{"upstream_group": "chain"}), "team/app")

	at.get(t, at.at("manifests/1")).want(t, http.StatusOK)
	at.head(t, at.at("manifests/%s", d)).want(t, http.StatusOK)
	at.get(t, at.at("manifests/none")).want(t, http.StatusNotFound)
	through.get(t, through.at("manifests/1")).want(t, http.StatusOK)
	through.get(t, through.at("manifests/%s", d)).want(t, http.StatusOK)
	mirror.get(t, mirror.at("manifests/1")).want(t, http.StatusOK)
	mirror.head(t, mirror.at("manifests/1")).want(t, http.StatusOK)
	w.stop(t) // which writes the last batch
	w.wantSound(t)

	s, err := sqlitemeta.Open(t.Context(), sqlitemeta.Options{Dir: w.nodes[0].config.DataDir})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	contentOf := func(registry string) (retention.Content, error) {
		acme, err := s.FindTenant(t.Context(), "acme")
		if err != nil {
			t.Fatal(err)
		}
		g, err := s.FindRegistry(t.Context(), acme.ID, registry)
		if err != nil {
			t.Fatal(err)
		}
		return s.RetentionContent(t.Context(), meta.Repo{Tenant: acme.ID, Registry: g.ID, Name: "team/app"})
	}
	c, err := contentOf("prod")
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Tags) != 1 || c.Tags[0].Pulls != 4 || c.Tags[0].PulledAt.IsZero() {
		t.Errorf("tags of prod: %+v", c.Tags)
	}
	for _, m := range c.Manifests {
		want := int64(4) // of the index, by tag
		if m.Digest == img.Manifest.Digest {
			want = 2 // of its child, by digest
		}
		if m.Pulls != want || m.PulledAt.IsZero() {
			t.Errorf("%+v, want %d pulls", m, want)
		}
	}
	if c, err := contentOf("dev"); err == nil {
		t.Errorf("dev, which has nothing: %+v", c)
	}
	if a, err := s.FindPullAccounting(t.Context()); err != nil || a.Since.IsZero() {
		t.Errorf("%+v (%v)", a, err)
	}
}
