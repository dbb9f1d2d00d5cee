package keyless

import (
	"errors"
	"fmt"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protodsse "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/berth-registry/berth/pkg/cosign"
	"github.com/berth-registry/berth/pkg/oci"
)

// MaxAttestation bounds the document of an attestation, in bytes.
const MaxAttestation = 8 << 20

// ReadAttestation reads the signature of an attestation about the manifest d, in the forms of
// cosign.ReadAttestation, which compares what it says. annotations are those of its layer.
func ReadAttestation(document []byte, mediaType string, annotations map[string]string, d oci.Digest) (Signature, error) {
	if len(document) > MaxAttestation {
		return Signature{}, fmt.Errorf("the attestation has more than %d bytes", MaxAttestation)
	}
	if mediaType == cosign.Envelope {
		return readEnvelope(document, annotations, d)
	}
	parsed := new(protobundle.Bundle)
	if err := protojson.Unmarshal(document, parsed); err != nil {
		return Signature{}, fmt.Errorf("the bundle cannot be read: %w", err)
	}
	if parsed.GetDsseEnvelope() == nil {
		return Signature{}, errors.New("the bundle has no envelope")
	}
	return readAbout(parsed, d)
}

// readEnvelope reads an envelope whose certificate, entry of a log and timestamp are in the
// annotations of its layer.
func readEnvelope(document []byte, annotations map[string]string, d oci.Digest) (Signature, error) {
	if annotations[CertificateAnnotation] == "" {
		return Signature{}, ErrNoCertificate
	}
	envelope := new(protodsse.Envelope)
	if err := protojson.Unmarshal(document, envelope); err != nil {
		return Signature{}, fmt.Errorf("the envelope cannot be read: %w", err)
	}
	material, err := readAnnotations(annotations)
	if err != nil {
		return Signature{}, err
	}
	s, err := readAbout(&protobundle.Bundle{
		MediaType:            "application/vnd.dev.sigstore.bundle+json;version=0.1", // as for a simple signing payload
		VerificationMaterial: material, Content: &protobundle.Bundle_DsseEnvelope{DsseEnvelope: envelope},
	}, d)
	s.stamped = document
	return s, err
}

// timed is what timestamps are verified of: of an envelope that is a layer by itself, cosign
// has the whole document timestamped.
func (s Signature) timed() verify.SignedEntity {
	if s.stamped == nil {
		return s.entity
	}
	return stampedEntity{s.entity, s.stamped}
}

type stampedEntity struct {
	*bundle.Bundle
	document []byte
}

// SignatureContent implements verify.SignedEntity.
func (e stampedEntity) SignatureContent() (verify.SignatureContent, error) {
	content, err := e.Bundle.SignatureContent()
	return stampedContent{content, e.document}, err
}

// stampedContent is verified by its envelope; its signature is only what is timestamped.
type stampedContent struct {
	verify.SignatureContent
	document []byte
}

// Signature implements verify.SignatureContent.
func (c stampedContent) Signature() []byte { return c.document }
