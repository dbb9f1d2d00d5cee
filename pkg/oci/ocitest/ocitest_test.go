package ocitest_test

import (
	"reflect"
	"testing"

	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
)

// What is made is what a registry takes.
func TestWhatIsMadeParses(t *testing.T) {
	img, subject := ocitest.NewImage(1, 100, 2000), ocitest.Index().Descriptor
	extra := ocitest.Extra{ArtifactType: "a/b", Subject: &subject, Annotations: map[string]string{"a": "b"}}
	empty := ocitest.Empty().Descriptor
	for name, c := range map[string]struct {
		made ocitest.Content
		want oci.Manifest
	}{
		"an image": {img.Manifest, oci.Manifest{Config: &img.Config.Descriptor, Blobs: []oci.Descriptor{
			img.Config.Descriptor, img.Layers[0].Descriptor, img.Layers[1].Descriptor,
		}}},
		"an index":                    {img.Index, oci.Manifest{Children: []oci.Descriptor{img.Manifest.Descriptor}}},
		"an artifact":                 {extra.Manifest(ocitest.Empty()), oci.Manifest{Config: &empty, Blobs: []oci.Descriptor{empty}}},
		"an artifact without content": {extra.Index(), oci.Manifest{}},
	} {
		got, err := oci.ParseManifest("", c.made.Bytes)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		c.want.MediaType = c.made.MediaType
		if name[:4] == "an a" {
			c.want.ArtifactType, c.want.Subject, c.want.Annotations = extra.ArtifactType, extra.Subject, extra.Annotations
		}
		if !reflect.DeepEqual(*got, c.want) {
			t.Errorf("%s: %+v, want %+v", name, *got, c.want)
		}
	}
}
