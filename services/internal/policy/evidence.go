package policy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/berth-registry/berth/pkg/cosign"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// evidenceTypes are the media types of what is said about images: signatures, attestations
// and SBOMs.
var evidenceTypes = []string{
	cosign.SimpleSigning, cosign.Envelope, cosign.InToto,
	"application/jose+json", "application/cose", // Notation's signatures
	"text/spdx", "text/spdx+json", "text/spdx+xml", "application/spdx+json", "application/vnd.syft+json",
	"application/vnd.cyclonedx", "application/vnd.cyclonedx+json", "application/vnd.cyclonedx+xml",
}

func isEvidenceType(mediaType string) bool {
	return slices.Contains(evidenceTypes, mediaType) || strings.HasPrefix(mediaType, "application/vnd.dev.sigstore.bundle")
}

// isEvidence reports whether a manifest is evidence, and remembers it.
func (c Checker) isEvidence(ctx context.Context, r meta.Repo, d oci.Digest, m *oci.Manifest) (bool, error) {
	if v, ok := c.Verdicts.known.Find(keyOf(r, d)); ok && v.evidence {
		return true, nil
	}
	is, err := looksLikeEvidence(ctx, c.content(), r, m)
	if is {
		c.Verdicts.remember(r, d, verdict{evidence: true}, nil)
	}
	return is, err
}

// looksLikeEvidence reports whether a manifest is evidence about images, which clients need to
// verify them, and which needs no signature itself: nothing of it can run.
//
// Names do not decide that. Those who may push to the upstream can give an image the tag of
// a signature, and cosign gives signatures the config of an image. So the layers decide: each
// must have a type that containerd does not unpack, and, since other clients try to unpack
// all types, bytes that are no archive. For an index it suffices that it lists artifacts:
// each of them is checked itself.
func looksLikeEvidence(ctx context.Context, from Content, r meta.Repo, m *oci.Manifest) (bool, error) {
	layers := m.Blobs
	switch {
	case len(m.Children) > 0:
		return !slices.ContainsFunc(m.Children, func(one oci.Descriptor) bool { return one.ArtifactType == "" || IsImage(one.ArtifactType) }), nil
	case m.Config != nil:
		layers = m.Blobs[1:]
	}
	if len(layers) == 0 || len(layers) > maxEvidence {
		return false, nil
	}
	for _, layer := range layers {
		if !isEvidenceType(layer.MediaType) {
			return false, nil
		}
	}
	return areDocuments(ctx, from, r, layers)
}

// IsCompanion reports whether a manifest says something about images and cannot be run as one:
// it is evidence, or refers to a subject by documents of any type, such as results of scans.
// Their bytes decide, too: a subject makes no image, chart or module a companion.
func IsCompanion(ctx context.Context, from Content, r meta.Repo, m *oci.Manifest) (bool, error) {
	if m.Subject != nil && m.Config != nil && len(m.Children) == 0 && 1 < len(m.Blobs) && len(m.Blobs) <= maxEvidence {
		return areDocuments(ctx, from, r, m.Blobs[1:])
	}
	return looksLikeEvidence(ctx, from, r, m)
}

// areDocuments reports whether no client can unpack any of the layers.
func areDocuments(ctx context.Context, from Content, r meta.Repo, layers []oci.Descriptor) (bool, error) {
	if tooLarge(layers) {
		return false, nil
	}
	for _, layer := range layers {
		is, err := isDocument(ctx, from, r, layer)
		if !is {
			return false, err
		}
	}
	return true, nil
}

// maxDocuments is the most bytes of all layers of evidence, which are read to their end.
const maxDocuments = 256 << 20

func tooLarge(layers []oci.Descriptor) bool {
	var size int64
	for _, layer := range layers {
		if size += layer.Size; layer.Size < 0 || size > maxDocuments {
			return true
		}
	}
	return false
}

// blockSize is that of a tar archive.
const blockSize = 512

// isDocument reports whether the blob is text or a COSE signature, and no archive. It is
// read to its end, so that the bytes that were looked at are those of the digest.
func isDocument(ctx context.Context, from Content, r meta.Repo, d oci.Descriptor) (bool, error) {
	content, err := from.OpenBlob(ctx, r, d)
	if err != nil {
		if IsAbsent(err) {
			err = nil
		}
		return false, err
	}
	head, err := io.ReadAll(io.LimitReader(content, blockSize))
	rest, begins := int64(0), beginsDocument(head)
	if err == nil && begins {
		rest, err = io.Copy(io.Discard, io.LimitReader(content, maxDocuments+1))
	}
	if err = errors.Join(err, content.Close()); err != nil {
		return false, fault.Down(err, "the content of this blob")
	}
	return begins && rest <= maxDocuments, nil
}

// beginsDocument reports whether no client can unpack what begins with these bytes. Clients
// recognize compression by the first bytes; none begins as a document does. A document can
// be made to be a tar archive too, which begins with a header that has its own checksum.
func beginsDocument(head []byte) bool {
	const sign1 = 0xd2 // the tag of a COSE signature (RFC 9052, section 2)
	text := bytes.TrimLeft(head, " \t\r\n")
	return len(text) > 0 && (strings.IndexByte("{[<S", text[0]) >= 0 || text[0] == sign1) && !isTarHeader(head)
}

// isTarHeader reports whether the block has the checksum of a header, without which no
// reader of archives takes it. Historic writers summed signed bytes.
func isTarHeader(block []byte) bool {
	const from, to = 148, 156 // of the checksum, which counts as spaces
	if len(block) < blockSize {
		return false
	}
	signed, unsigned := int64(0), int64(0)
	for i, b := range block[:blockSize] {
		if from <= i && i < to {
			b = ' '
		}
		signed, unsigned = signed+int64(int8(b)), unsigned+int64(b)
	}
	said := int64(0)
	for _, b := range bytes.TrimLeft(block[from:to], " \x00") {
		if b < '0' || b > '7' {
			break
		}
		said = said<<3 | int64(b-'0')
	}
	return said == signed || said == unsigned
}
