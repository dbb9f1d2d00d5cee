package cosign

import (
	"errors"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/berth-registry/berth/pkg/oci"
)

const (
	// Envelope is the media type of a layer under AttestationTag: a signed envelope (DSSE).
	Envelope = "application/vnd.dsse.envelope.v1+json"
	// InToto is the payload type of an envelope with a statement, and the artifact type of a
	// referrer with such layers.
	InToto = "application/vnd.in-toto+json"
	// PredicateTypeAnnotation is the annotation of such a layer with its predicate type.
	PredicateTypeAnnotation = "predicateType"
)

// AttestationTag is the tag under which cosign stores the attestations of a manifest.
func AttestationTag(d oci.Digest) string { return string(d.Algorithm()) + "-" + d.Hex() + ".att" }

// ErrOtherPredicate is the error for an attestation of another predicate type.
var ErrOtherPredicate = errors.New("it has another predicate type")

// Attestation says something about a manifest, with its signatures. That it is about the
// manifest was compared; who signed it is yet to be verified.
type Attestation struct {
	Signature
	Predicate jsontext.Value
}

// ReadAttestation reads an attestation of the manifest d that has one of the predicate types:
// the layer of a media type, which is Bundle or Envelope.
func ReadAttestation(document []byte, mediaType string, d oci.Digest, predicates ...string) (Attestation, error) {
	var b bundle
	var err error
	if mediaType == Envelope {
		err = json.Unmarshal(document, &b.Envelope)
	} else {
		err = json.Unmarshal(document, &b)
	}
	switch {
	case err != nil:
		return Attestation{}, errors.New("the envelope is not a JSON document that can be read")
	case b.Envelope == nil || b.Message != nil:
		return Attestation{}, ErrOtherPredicate // it signs bytes
	}
	said, err := b.Envelope.statement(d)
	if err != nil {
		return Attestation{}, err
	}
	if !slices.Contains(predicates, said.PredicateType) {
		return Attestation{}, ErrOtherPredicate
	}
	return Attestation{b.Envelope.signature(), said.Predicate}, nil
}

// envelope is a signed envelope (secure-systems-lab/dsse, envelope.md).
type envelope struct {
	Payload     []byte `json:"payload"`
	PayloadType string `json:"payloadType"`
	Signatures  []struct {
		Sig []byte `json:"sig"`
	} `json:"signatures"`
}

// statement reads the statement, which must be about the manifest d.
func (e *envelope) statement(d oci.Digest) (statement, error) {
	var s statement
	if e.PayloadType != InToto {
		return s, errors.New("the envelope has no in-toto statement")
	}
	if err := json.Unmarshal(e.Payload, &s); err != nil {
		return s, errors.New("the statement of the envelope is not a JSON document that can be read")
	}
	if s.Type != "https://in-toto.io/Statement/v1" && s.Type != "https://in-toto.io/Statement/v0.1" {
		return s, errors.New("the envelope has no in-toto statement")
	}
	for _, one := range s.Subject {
		if one.Digest[string(d.Algorithm())] == d.Hex() {
			return s, nil
		}
	}
	return s, errOther
}

// signature is what the envelope's signatures are of (protocol.md of DSSE, "PAE"), and the
// first of them.
func (e *envelope) signature() Signature {
	head := "DSSEv1 " + strconv.Itoa(len(e.PayloadType)) + " " + e.PayloadType + " " + strconv.Itoa(len(e.Payload)) + " "
	s := Signature{message: append([]byte(head), e.Payload...)}
	for _, one := range e.Signatures[:min(len(e.Signatures), maxSignatures)] {
		s.signatures = append(s.signatures, one.Sig)
	}
	return s
}
