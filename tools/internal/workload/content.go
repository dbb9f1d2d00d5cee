package workload

import (
	"math/rand/v2"

	"github.com/berth-registry/berth/pkg/oci/ocitest"
)

// noise is a layer that nothing else has.
func noise(rng *rand.Rand, size int) ocitest.Content {
	return ocitest.Layer(ocitest.Noise(size, rng.Uint64()))
}

func newImage(name string, layers []ocitest.Content) ocitest.Image {
	config := ocitest.ConfigBy(name)
	return ocitest.Image{Manifest: ocitest.Manifest(config, layers...), Config: config, Layers: layers}
}
