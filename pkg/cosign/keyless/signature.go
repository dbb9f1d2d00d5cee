package keyless

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/berth-registry/berth/pkg/cosign"
	"github.com/berth-registry/berth/pkg/oci"
)

// Annotations of a layer with a simple signing payload.
const (
	CertificateAnnotation = "dev.sigstore.cosign/certificate"      // PEM
	EntryAnnotation       = "dev.sigstore.cosign/bundle"           // JSON: the entry in the log
	TimestampAnnotation   = "dev.sigstore.cosign/rfc3161timestamp" // JSON: the timestamp
)

// Limits of a signature, each part of which costs time to verify.
const (
	MaxSignature   = 256 << 10 // bytes of a bundle, or of an annotation
	maxCertificate = 16 << 10  // bytes
	maxTimestamp   = 16 << 10  // bytes
	maxTimestamps  = 4
	maxEntries     = 4
)

// ErrNoCertificate is the error for a signature by a key alone.
var ErrNoCertificate = errors.New("it has no certificate")

// Signature is one by a certificate. What it says was compared with the manifest; who signed
// it is yet to be verified.
type Signature struct {
	entity  *bundle.Bundle
	signed  func() verify.ArtifactPolicyOption
	stamped []byte // what its timestamps are of; nil: the signature
}

// ReadSimple reads the signature of a simple signing payload for the manifest d from the
// annotations of its layer. The annotation with a chain is not needed: only the authorities of
// the trusted root count.
func ReadSimple(document []byte, annotations map[string]string, d oci.Digest) (Signature, error) {
	if annotations[CertificateAnnotation] == "" {
		return Signature{}, ErrNoCertificate
	}
	s, err := cosign.ReadSimple(document, annotations[cosign.SignatureAnnotation], d)
	if err != nil {
		return Signature{}, err
	}
	material, err := readAnnotations(annotations)
	if err != nil {
		return Signature{}, err
	}
	sum := oci.DigestOf(oci.SHA256, document)
	raw, err := hex.DecodeString(sum.Hex())
	if err != nil {
		return Signature{}, err
	}
	// In this version of bundles, an entry of the log is proved by the promise of the log
	// to include it, which is all that cosign keeps in the annotation.
	return read(&protobundle.Bundle{
		MediaType:            "application/vnd.dev.sigstore.bundle+json;version=0.1",
		VerificationMaterial: material,
		Content: &protobundle.Bundle_MessageSignature{MessageSignature: &protocommon.MessageSignature{
			MessageDigest: &protocommon.HashOutput{Algorithm: protocommon.HashAlgorithm_SHA2_256, Digest: raw}, Signature: s.First(),
		}},
	}, ofBytes(document))
}

func readAnnotations(annotations map[string]string) (*protobundle.VerificationMaterial, error) {
	for _, name := range []string{CertificateAnnotation, EntryAnnotation, TimestampAnnotation} {
		if len(annotations[name]) > MaxSignature {
			return nil, fmt.Errorf("the annotation %s has more than %d bytes", name, MaxSignature)
		}
	}
	block, _ := pem.Decode([]byte(annotations[CertificateAnnotation]))
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, fmt.Errorf("the annotation %s is not a certificate in PEM", CertificateAnnotation)
	}
	m := &protobundle.VerificationMaterial{Content: &protobundle.VerificationMaterial_X509CertificateChain{
		X509CertificateChain: &protocommon.X509CertificateChain{Certificates: []*protocommon.X509Certificate{{RawBytes: block.Bytes}}},
	}}
	if text := annotations[EntryAnnotation]; text != "" {
		entry, err := readEntry(text)
		if err != nil {
			return nil, fmt.Errorf("the annotation %s is not an entry of a log: %w", EntryAnnotation, err)
		}
		m.TlogEntries = []*protorekor.TransparencyLogEntry{entry}
	}
	if text := annotations[TimestampAnnotation]; text != "" {
		var stamp struct{ SignedRFC3161Timestamp []byte }
		if err := json.Unmarshal([]byte(text), &stamp); err != nil {
			return nil, fmt.Errorf("the annotation %s is not a timestamp: %w", TimestampAnnotation, err)
		}
		m.TimestampVerificationData = &protobundle.TimestampVerificationData{
			Rfc3161Timestamps: []*protocommon.RFC3161SignedTimestamp{{SignedTimestamp: stamp.SignedRFC3161Timestamp}},
		}
	}
	return m, nil
}

// readEntry reads an entry of Rekor as cosign keeps it: what the log signed, and its signature.
func readEntry(text string) (*protorekor.TransparencyLogEntry, error) {
	var e struct {
		SignedEntryTimestamp []byte
		Payload              struct {
			Body           []byte `json:"body"`
			IntegratedTime int64  `json:"integratedTime"`
			LogIndex       int64  `json:"logIndex"`
			LogID          string `json:"logID"`
		}
	}
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		return nil, err
	}
	var kind struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
	}
	if err := json.Unmarshal(e.Payload.Body, &kind); err != nil {
		return nil, err
	}
	id, err := hex.DecodeString(e.Payload.LogID)
	if err != nil {
		return nil, err
	}
	return &protorekor.TransparencyLogEntry{
		LogIndex: e.Payload.LogIndex, LogId: &protocommon.LogId{KeyId: id},
		KindVersion:      &protorekor.KindVersion{Kind: kind.Kind, Version: kind.APIVersion},
		IntegratedTime:   e.Payload.IntegratedTime,
		InclusionPromise: &protorekor.InclusionPromise{SignedEntryTimestamp: e.SignedEntryTimestamp}, CanonicalizedBody: e.Payload.Body,
	}, nil
}

// ReadBundle reads the signature of a Sigstore bundle for the manifest d, as cosign.ReadBundle.
func ReadBundle(document []byte, d oci.Digest, load func() ([]byte, error)) (Signature, error) {
	if len(document) > MaxSignature {
		return Signature{}, fmt.Errorf("the bundle has more than %d bytes", MaxSignature)
	}
	if _, err := cosign.ReadBundle(document, d, load); err != nil {
		return Signature{}, err
	}
	parsed := new(protobundle.Bundle)
	if err := protojson.Unmarshal(document, parsed); err != nil {
		return Signature{}, fmt.Errorf("the bundle cannot be read: %w", err)
	}
	if parsed.GetMessageSignature() != nil {
		manifest, err := load()
		if err != nil {
			return Signature{}, err
		}
		return read(parsed, ofBytes(manifest))
	}
	return readAbout(parsed, d)
}

// readAbout reads the signature of a statement about d.
func readAbout(b *protobundle.Bundle, d oci.Digest) (Signature, error) {
	raw, err := hex.DecodeString(d.Hex())
	if err != nil {
		return Signature{}, err
	}
	return read(b, func() verify.ArtifactPolicyOption { return verify.WithArtifactDigest(string(d.Algorithm()), raw) })
}

func ofBytes(b []byte) func() verify.ArtifactPolicyOption {
	return func() verify.ArtifactPolicyOption { return verify.WithArtifact(bytes.NewReader(b)) }
}

// read checks the limits of a bundle.
func read(b *protobundle.Bundle, signed func() verify.ArtifactPolicyOption) (Signature, error) {
	m := b.GetVerificationMaterial()
	certificate := m.GetCertificate().GetRawBytes()
	if chain := m.GetX509CertificateChain(); len(chain.GetCertificates()) > 0 {
		chain.Certificates = chain.Certificates[:1] // only intermediates of the trusted root count
		certificate = chain.Certificates[0].GetRawBytes()
	}
	stamps := m.GetTimestampVerificationData().GetRfc3161Timestamps()
	switch {
	case len(certificate) == 0:
		return Signature{}, ErrNoCertificate
	case len(certificate) > maxCertificate:
		return Signature{}, fmt.Errorf("its certificate has more than %d bytes", maxCertificate)
	case len(m.GetTlogEntries()) > maxEntries:
		return Signature{}, fmt.Errorf("it has more than %d entries of logs", maxEntries)
	case len(stamps) > maxTimestamps:
		return Signature{}, fmt.Errorf("it has more than %d timestamps", maxTimestamps)
	}
	for _, stamp := range stamps {
		if len(stamp.GetSignedTimestamp()) > maxTimestamp {
			return Signature{}, fmt.Errorf("a timestamp has more than %d bytes", maxTimestamp)
		}
	}
	entity, err := guarded(func() (*bundle.Bundle, error) { return bundle.NewBundle(b) })
	if err != nil {
		return Signature{}, fmt.Errorf("the bundle cannot be read: %w", err)
	}
	return Signature{entity: entity, signed: signed}, nil
}
