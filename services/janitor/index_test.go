package janitor_test

import (
	"fmt"
	"log/slog"
	"testing"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/services/internal/policy"
	"github.com/berth-registry/berth/services/internal/respond"
	"github.com/berth-registry/berth/services/janitor"
)

// TestW219_ImagesAreFoundByWhatTheySay: annotations, artifact types and platforms of
// manifests, labels and platform of the configs in the blob store.
func TestW219_ImagesAreFoundByWhatTheySay(t *testing.T) {
	w := newWorld(t)
	log := slog.New(slog.DiscardHandler)
	j := janitor.New(janitor.Config{
		Meta: w.Meta, Blobs: w.Blobs, Log: log, Content: policy.Stored{Meta: w.Meta, Blobs: respond.Blobs{Store: w.Blobs, Meta: w.Meta, Log: log}},
	})
	put := func(m ocitest.Content, tags ...string) oci.Digest { return w.PutManifest(w.repo, m.Bytes, tags...) }
	image := func(config string) ocitest.Content {
		w.push(config)
		return ocitest.Extra{Annotations: map[string]string{"org.example.commit": "Ab12<&>"}}.Manifest(ocitest.Config([]byte(config)))
	}
	arm := image(`{"os": "linux", "architecture": "arm64", "variant": "v8", "config": {"Labels": {"Team": "Blue"}}}`)
	broken := image(`not JSON`)
	w.push("{}")
	chart := ocitest.Extra{ArtifactType: "application/vnd.example.chart"}.Manifest(ocitest.Empty())
	index := fmt.Sprintf(`{"schemaVersion": 2, "mediaType": %q, "manifests": [{"mediaType": %q, "digest": %q, "size": %d, "platform": {"os": "windows", "architecture": "amd64"}}]}`,
		"application/vnd.oci.image.index.v1+json", arm.MediaType, arm.Digest, len(arm.Bytes))
	digests := map[string]oci.Digest{"arm": put(arm, "arm"), "broken": put(broken, "broken"), "chart": put(chart, "chart")}
	digests["index"] = w.PutManifest(w.repo, []byte(index), "all")
	w.must(j.Index(t.Context()))
	for _, c := range []struct {
		kind meta.SearchKind
		text string
		want []string
	}{
		{meta.SearchLabel, "team=blue", []string{"arm"}},
		{meta.SearchLabel, "blu", []string{"arm"}},
		{meta.SearchPlatform, "arm64", []string{"arm"}},
		{meta.SearchPlatform, "linux/arm64/v8", []string{"arm"}},
		{meta.SearchPlatform, "windows", []string{"index"}},
		{meta.SearchAnnotation, "commit=ab12<&>", []string{"arm", "broken"}},
		{meta.SearchArtifactType, "chart", []string{"chart"}},
		{meta.SearchArtifactType, "image", nil},
	} {
		page, err := w.Meta.Search(t.Context(), w.repo.Tenant, meta.SearchQuery{Text: c.text, Kinds: []meta.SearchKind{c.kind}, Size: 10})
		w.must(err)
		found := map[oci.Digest]bool{}
		for _, h := range page.Hits {
			found[h.Digest] = true
		}
		for _, name := range c.want {
			if !found[digests[name]] {
				t.Errorf("%q does not find %s", c.text, name)
			}
		}
		if len(found) != len(c.want) {
			t.Errorf("%q finds %+v", c.text, page.Hits)
		}
	}
}
