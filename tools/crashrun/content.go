package main

import "github.com/berth-registry/berth/pkg/oci/ocitest"

// newImage makes an image of layers that is unlike any other by its name.
func newImage(name string, extra ocitest.Extra, layers ...ocitest.Content) ocitest.Image {
	config := ocitest.ConfigBy(name)
	return ocitest.Image{Manifest: extra.Manifest(config, layers...), Config: config, Layers: layers}
}

// about is what makes a manifest a referrer of another one.
func about(subject ocitest.Image) ocitest.Extra {
	return ocitest.Extra{Subject: &subject.Manifest.Descriptor}
}

// newIndex makes an index of images.
func newIndex(name string, images ...ocitest.Image) ocitest.Content {
	var manifests []ocitest.Content
	for _, i := range images {
		manifests = append(manifests, i.Manifest)
	}
	return ocitest.Extra{Annotations: map[string]string{"name": name}}.Index(manifests...)
}
