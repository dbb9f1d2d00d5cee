package meta

import "github.com/berth-registry/berth/pkg/oci"

// The charge of a row in bytes, besides the bytes of blobs: about the size of the
// row, its indexes and dependent rows in either database, rounded up. The triggers
// of the schema have the same numbers. A manifest is charged ManifestCost, its
// length, and ReferenceCost for each blob and manifest that it references.
const (
	BlobCost       = 512  // its row, that of its object, and a link
	ManifestCost   = 1024 // its row with three indexes, and its event
	ReferenceCost  = 512  // two digests and two ids, in the table and two indexes
	TagCost        = 512
	RepositoryCost = 2048 // a name of up to 255 bytes in five indexes
	NameClaimCost  = 512
)

// ChargeOf is the charge of a manifest.
func ChargeOf(m Manifest, references int) int64 {
	return ManifestCost + int64(len(m.Payload)) + ReferenceCost*int64(references)
}

// CountReferences counts the distinct blobs and manifests that a manifest
// references.
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
