package upstream

import (
	"context"
	"net/http"
	"strings"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/oci"
)

// acceptManifests are all media types of manifests that Berth takes. Without the
// Docker types a registry may convert a manifest, which changes its digest.
var acceptManifests = strings.Join([]string{
	oci.MediaTypeImageIndex, oci.MediaTypeImageManifest, oci.MediaTypeDockerList, oci.MediaTypeDocker, oci.MediaTypeArtifact,
}, ", ")

// Manifest is a verified manifest of an upstream: Payload has the Digest, and
// oci.ParseManifest accepts it as MediaType.
type Manifest struct {
	Digest    oci.Digest
	MediaType string
	Payload   []byte
}

// Descriptor is an upstream's response to a HEAD of a manifest.
type Descriptor struct {
	Digest    oci.Digest
	MediaType string // empty if not given
	Size      int64  // in bytes; -1 if not given
}

// Manifest gets a manifest of at most oci.MaxManifest bytes. Its digest is that of
// the reference or, by tag, the sha256 of its bytes. A response that contradicts
// itself is an Outage (contract E7).
func (c *Client) Manifest(ctx context.Context, name string, ref oci.Reference) (Manifest, error) {
	return anywhere(ctx, c, func(c *Client) (Manifest, error) { return c.getManifest(ctx, name, ref) })
}

func (c *Client) getManifest(ctx context.Context, name string, ref oci.Reference) (Manifest, error) {
	var m Manifest
	err := c.manifest(ctx, http.MethodGet, name, ref, func(a answer) error {
		var err error
		m, err = c.checkManifest(a, ref)
		return err
	})
	return m, err
}

// HeadManifest asks what a tag points to. The result is only the upstream's claim:
// compare it with a digest that was computed from bytes. If the response has no
// digest, it gets the manifest.
func (c *Client) HeadManifest(ctx context.Context, name, tag string) (Descriptor, error) {
	return anywhere(ctx, c, func(c *Client) (Descriptor, error) { return c.headManifest(ctx, name, tag) })
}

func (c *Client) headManifest(ctx context.Context, name, tag string) (Descriptor, error) {
	ref := oci.Reference{Tag: tag}
	var d Descriptor
	err := c.manifest(ctx, http.MethodHead, name, ref, func(a answer) error {
		if a.method == http.MethodGet {
			m, err := c.checkManifest(a, ref)
			d = m.descriptor()
			return err
		}
		claim, err := oci.ParseDigest(a.header.Get("Docker-Content-Digest"))
		if t := mediaTypeOf(a.header); err == nil && t != "text/html" {
			d = Descriptor{Digest: claim, MediaType: t, Size: a.size}
		}
		return nil
	})
	if err != nil || d.Digest != "" {
		return d, err
	}
	m, err := c.getManifest(ctx, name, ref)
	if err != nil {
		return Descriptor{}, err
	}
	return m.descriptor(), nil
}

func (m Manifest) descriptor() Descriptor {
	return Descriptor{Digest: m.Digest, MediaType: m.MediaType, Size: int64(len(m.Payload))}
}

func (c *Client) manifest(ctx context.Context, method, name string, ref oci.Reference, use func(answer) error) error {
	if err := oci.CheckName(name); err != nil {
		return err
	}
	return c.document(ctx, request{
		method: method, name: name, path: "manifests/" + ref.String(), accept: acceptManifests,
		missing: fault.ManifestUnknown, limit: oci.MaxManifest,
	}, use)
}

// checkManifest computes the digest from the bytes and compares the upstream's
// claim with it.
func (c *Client) checkManifest(a answer, ref oci.Reference) (Manifest, error) {
	m := Manifest{Payload: a.body, Digest: ref.Digest}
	if ref.Digest == "" {
		m.Digest = oci.DigestOf(oci.SHA256, a.body)
	} else if oci.DigestOf(ref.Digest.Algorithm(), a.body) != ref.Digest {
		return Manifest{}, c.outage(nil, "sent a manifest that does not have the digest it was asked for by")
	}
	if claim := a.header.Get("Docker-Content-Digest"); claim != "" {
		algorithm, _, _ := strings.Cut(claim, ":")
		// A digest of an unknown algorithm is not a contradiction.
		if known, err := oci.ParseAlgorithm(algorithm); err == nil && string(oci.DigestOf(known, a.body)) != claim {
			return Manifest{}, c.outage(nil, "sent a manifest that does not have the digest it claims")
		}
	}
	parsed, err := oci.ParseManifest(declaredType(a.header), a.body)
	if err != nil {
		return Manifest{}, c.outage(err, "sent a manifest that cannot be used: %s", fault.From(err).Message)
	}
	m.MediaType = parsed.MediaType
	return m, nil
}

// declaredType is the media type in the header of a manifest. It is empty for a
// generic JSON type, as registries made of static files send it: then the document
// decides.
func declaredType(h http.Header) string {
	switch t := mediaTypeOf(h); t {
	case "application/json", "application/octet-stream", "binary/octet-stream", "text/plain":
		return ""
	default:
		return t
	}
}

func mediaTypeOf(h http.Header) string {
	t, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	return strings.ToLower(strings.TrimSpace(t))
}
