package meta

import "github.com/berth-registry/berth/pkg/oci"

// What a row costs a tenant beside the bytes of its blobs, in bytes: about what
// the row, its indexes and the rows that come with it take in either database,
// rounded up. The triggers of the schema have the same numbers. A manifest is
// charged ManifestCost, its length, and ReferenceCost for each blob and manifest
// that it names.
const (
	BlobCost       = 512  // its row, that of its object, and a link
	ManifestCost   = 1024 // its row with three indexes, and what the audit log says of it
	ReferenceCost  = 512  // two digests and two ids, in the table and two indexes
	TagCost        = 512
	RepositoryCost = 2048 // a name of up to 255 bytes in five indexes
	NameClaimCost  = 512
)

// ChargeOf is what a manifest costs.
func ChargeOf(m Manifest, references int) int64 {
	return ManifestCost + int64(len(m.Payload)) + ReferenceCost*int64(references)
}

// CountReferences is how many blobs and manifests a manifest names, each once.
func CountReferences(m *oci.Manifest) int {
	blobs, children := map[oci.Digest]bool{}, map[oci.Digest]bool{}
	for _, d := range m.Blobs {
		blobs[d.Digest] = true
	}
	for _, d := range m.Children {
		children[d.Digest] = true
	}
	return len(blobs) + len(children)
}
