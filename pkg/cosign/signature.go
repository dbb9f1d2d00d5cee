package cosign

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/berth-registry/berth/pkg/oci"
)

const (
	// SimpleSigning is the media type of a layer that is a simple signing payload.
	SimpleSigning = "application/vnd.dev.cosign.simplesigning.v1+json"
	// SignatureArtifact is the artifact type of a referrer with such layers.
	SignatureArtifact = "application/vnd.dev.cosign.artifact.sig.v1+json"
	// SignatureAnnotation is the annotation of such a layer with the signature, in base64.
	SignatureAnnotation = "dev.cosignproject.cosign/signature"

	// Bundle is the media type of a Sigstore bundle, and the artifact type of a referrer
	// that has one as its layer.
	Bundle = "application/vnd.dev.sigstore.bundle.v0.3+json"
	// PredicateAnnotation is the annotation of such a referrer with its predicate type.
	PredicateAnnotation = "dev.sigstore.bundle.predicateType"
	// SignPredicate is the predicate type of a statement that only signs. Others, such as
	// provenance or the result of a scan, say something about an image, good or bad.
	SignPredicate = "https://sigstore.dev/cosign/sign/v1"
)

// maxSignatures is how many signatures of one envelope are tried.
const maxSignatures = 10

// Signature is a message about a manifest, with its signatures. What it says was compared
// with the manifest; who signed it is yet to be verified.
type Signature struct {
	message    []byte
	signatures [][]byte
}

// Count returns how many signatures there are, which VerifiedBy tries.
func (s Signature) Count() int { return len(s.signatures) }

// First returns the first of the signatures; none is nil.
func (s Signature) First() []byte {
	if len(s.signatures) == 0 {
		return nil
	}
	return s.signatures[0]
}

// VerifiedBy reports whether one of the signatures is by the key.
func (s Signature) VerifiedBy(k Key) bool {
	return slices.ContainsFunc(s.signatures, func(one []byte) bool { return k.verifies(s.message, one) })
}

// Tag is the tag under which cosign stores the simple signing payloads of a manifest.
func Tag(d oci.Digest) string { return string(d.Algorithm()) + "-" + d.Hex() + ".sig" }

// payload is what a simple signing payload says. The identity in it names the repository
// that the image was signed in. It is not compared, as by cosign, since copies keep it.
type payload struct {
	Critical struct {
		Image struct {
			Digest string `json:"docker-manifest-digest"`
		} `json:"image"`
		Type string `json:"type"`
	} `json:"critical"`
}

// ReadSimple reads a simple signing payload for the manifest d, and its signature in
// base64.
func ReadSimple(document []byte, signature string, d oci.Digest) (Signature, error) {
	var p payload
	if err := json.Unmarshal(document, &p); err != nil {
		return Signature{}, errors.New("the payload is not a JSON document that can be read")
	}
	if p.Critical.Type != "cosign container image signature" {
		return Signature{}, errors.New("the payload is not of cosign")
	}
	if p.Critical.Image.Digest != d.String() {
		return Signature{}, errOther
	}
	raw, err := base64.StdEncoding.DecodeString(signature)
	if err != nil || len(raw) == 0 {
		return Signature{}, fmt.Errorf("the annotation %s is not base64", SignatureAnnotation)
	}
	return Signature{document, [][]byte{raw}}, nil
}

var errOther = errors.New("it is of another manifest")

// bundle is the part of a Sigstore bundle that is needed to verify it with a key
// (sigstore/protobuf-specs, sigstore_bundle.proto).
type bundle struct {
	Envelope *envelope `json:"dsseEnvelope"`
	Message  *struct {
		Digest struct {
			Algorithm string `json:"algorithm"`
			Digest    []byte `json:"digest"`
		} `json:"messageDigest"`
		Signature []byte `json:"signature"`
	} `json:"messageSignature"`
}

// statement is an in-toto statement (in-toto/attestation, spec/v1/statement.md).
type statement struct {
	Type    string `json:"_type"`
	Subject []struct {
		Digest map[string]string `json:"digest"`
	} `json:"subject"`
	PredicateType string         `json:"predicateType"`
	Predicate     jsontext.Value `json:"predicate"`
}

// ReadBundle reads a Sigstore bundle for the manifest d: an envelope with a statement that
// signs it, or a signature of its bytes, which load returns.
func ReadBundle(document []byte, d oci.Digest, load func() ([]byte, error)) (Signature, error) {
	var b bundle
	if err := json.Unmarshal(document, &b); err != nil {
		return Signature{}, errors.New("the bundle is not a JSON document that can be read")
	}
	switch {
	case (b.Envelope == nil) == (b.Message == nil):
		return Signature{}, errors.New("the bundle has neither dsseEnvelope nor messageSignature, or both")
	case b.Message != nil:
		if err := checkMessage(b, d); err != nil {
			return Signature{}, err
		}
		manifest, err := load()
		return Signature{manifest, [][]byte{b.Message.Signature}}, err
	}
	said, err := b.Envelope.statement(d)
	if err != nil {
		return Signature{}, err
	}
	if said.PredicateType != SignPredicate {
		return Signature{}, errors.New("it is an attestation, not a signature")
	}
	return b.Envelope.signature(), nil
}

// checkMessage compares the digest that a message signature names, if it names one. The
// signature itself is of the bytes.
func checkMessage(b bundle, d oci.Digest) error {
	algorithms := map[string]oci.Algorithm{"SHA2_256": oci.SHA256, "SHA2_512": oci.SHA512}
	said := b.Message.Digest
	if a, known := algorithms[said.Algorithm]; known && a == d.Algorithm() && hex.EncodeToString(said.Digest) != d.Hex() {
		return errOther
	}
	return nil
}
