package workload

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"

	"github.com/berth-registry/berth/pkg/oci"
)

type content struct {
	digest string
	bytes  []byte
}

func contentOf(b []byte) content { return content{oci.DigestOf(oci.SHA256, b).String(), b} }

// noise is content that nothing else has.
func noise(rng *rand.Rand, size int) content {
	var seed [32]byte
	for i := range 4 {
		binary.LittleEndian.PutUint64(seed[8*i:], rng.Uint64())
	}
	b := make([]byte, size)
	_, _ = rand.NewChaCha8(seed).Read(b) // never fails
	return contentOf(b)
}

// An image is a manifest and what it references.
type image struct {
	manifest content
	blobs    []content // config first
}

func newImage(name string, layers []content) image {
	config := contentOf(fmt.Appendf(nil, `{"architecture": "amd64", "os": "linux", "author": %q}`, name))
	type descriptor struct {
		MediaType string `json:"mediaType"`
		Digest    string `json:"digest"`
		Size      int    `json:"size"`
	}
	m := struct {
		SchemaVersion int          `json:"schemaVersion"`
		MediaType     string       `json:"mediaType"`
		Config        descriptor   `json:"config"`
		Layers        []descriptor `json:"layers"`
	}{2, oci.MediaTypeImageManifest, descriptor{"application/vnd.oci.image.config.v1+json", config.digest, len(config.bytes)}, nil}
	for _, l := range layers {
		m.Layers = append(m.Layers, descriptor{"application/vnd.oci.image.layer.v1.tar", l.digest, len(l.bytes)})
	}
	b, err := json.Marshal(m)
	if err != nil {
		panic(err) // a struct of strings and numbers
	}
	return image{contentOf(b), append([]content{config}, layers...)}
}
