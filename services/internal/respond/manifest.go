// Package respond writes what a registry answers to a pull: manifests, blobs and
// lists, the same whichever service found them.
package respond

import (
	"context"
	"net/http"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/services/internal/kit"
)

// WriteManifest ignores Accept: a registry cannot give another form of a manifest
// without changing its digest.
func WriteManifest(ctx context.Context, w http.ResponseWriter, m meta.Manifest) error {
	setContent(w.Header(), m.Digest, m.MediaType)
	kit.ServeBytes(ctx, w, m.Payload)
	return nil
}

// ManifestSize is what sending the manifest takes.
func ManifestSize(m meta.Manifest) int64 { return int64(len(m.Payload)) }

// setContent sets the headers of content that is addressed by its digest. The
// digest is the strong validator: If-None-Match and If-Range work by it.
func setContent(h http.Header, d oci.Digest, mediaType string) {
	h.Set("Content-Type", mediaType)
	h.Set("Docker-Content-Digest", d.String())
	h.Set("ETag", `"`+d.String()+`"`)
}
