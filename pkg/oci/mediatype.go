package oci

import imagespec "github.com/opencontainers/image-spec/specs-go/v1"

// The media types of manifests that a registry takes.
const (
	MediaTypeImageManifest = imagespec.MediaTypeImageManifest
	MediaTypeImageIndex    = imagespec.MediaTypeImageIndex
	MediaTypeDocker        = "application/vnd.docker.distribution.manifest.v2+json"
	MediaTypeDockerList    = "application/vnd.docker.distribution.manifest.list.v2+json"

	// MediaTypeArtifact was withdrawn before image-spec 1.1, but clients of its
	// release candidates have pushed such manifests, which can still be copied.
	MediaTypeArtifact = "application/vnd.oci.artifact.manifest.v1+json"
)

// Docker's manifests before schema 2, which are refused with a clear error.
const (
	mediaTypeSchema1       = "application/vnd.docker.distribution.manifest.v1+json"
	mediaTypeSchema1Signed = "application/vnd.docker.distribution.manifest.v1+prettyjws"
)

// isManifest reports whether content of the type is pushed as a manifest. Any other
// content is a blob, even if an index lists it.
func isManifest(mediaType string) bool {
	switch mediaType {
	case MediaTypeImageManifest, MediaTypeImageIndex, MediaTypeDocker, MediaTypeDockerList, MediaTypeArtifact,
		mediaTypeSchema1, mediaTypeSchema1Signed:
		return true
	default:
		return false
	}
}

// foreignLayers are the types of layers that must not be distributed (image-spec,
// layer.md, "Non-Distributable Layers"; "foreign" in Docker's words).
var foreignLayers = map[string]bool{
	"application/vnd.oci.image.layer.nondistributable.v1.tar":      true,
	"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip": true,
	"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd": true,
	"application/vnd.docker.image.rootfs.foreign.diff.tar":         true,
	"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip":    true,
}
