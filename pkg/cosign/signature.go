package cosign

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json"

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
	Envelope *struct {
		Payload     []byte `json:"payload"`
		PayloadType string `json:"payloadType"`
		Signatures  []struct {
			Sig []byte `json:"sig"`
		} `json:"signatures"`
	} `json:"dsseEnvelope"`
	Message *struct {
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
	PredicateType string `json:"predicateType"`
}

// inToto is the payload type of an envelope with a statement.
const inToto = "application/vnd.in-toto+json"

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
	if b.Envelope.PayloadType != inToto {
		return Signature{}, errors.New("the envelope of the bundle has no in-toto statement")
	}
	if err := checkStatement(b.Envelope.Payload, d); err != nil {
		return Signature{}, err
	}
	s := Signature{message: envelope(inToto, b.Envelope.Payload)}
	for _, one := range b.Envelope.Signatures[:min(len(b.Envelope.Signatures), maxSignatures)] {
		s.signatures = append(s.signatures, one.Sig)
	}
	return s, nil
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

func checkStatement(text []byte, d oci.Digest) error {
	var s statement
	if err := json.Unmarshal(text, &s); err != nil {
		return errors.New("the statement of the bundle is not a JSON document that can be read")
	}
	if s.Type != "https://in-toto.io/Statement/v1" && s.Type != "https://in-toto.io/Statement/v0.1" {
		return errors.New("the envelope of the bundle has no in-toto statement")
	}
	if s.PredicateType != SignPredicate {
		return errors.New("it is an attestation, not a signature")
	}
	for _, one := range s.Subject {
		if one.Digest[string(d.Algorithm())] == d.Hex() {
			return nil
		}
	}
	return errOther
}

// envelope is the message that a DSSE envelope's signatures are of (secure-systems-lab/dsse,
// protocol.md, "PAE").
func envelope(kind string, payload []byte) []byte {
	head := "DSSEv1 " + strconv.Itoa(len(kind)) + " " + kind + " " + strconv.Itoa(len(payload)) + " "
	return append([]byte(head), payload...)
}
