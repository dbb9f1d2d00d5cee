// Package cosigntest signs manifests in tests, as cosign does.
package cosigntest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"

	imagespec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/berth-registry/berth/pkg/cosign"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
)

// Kinds of keys.
const (
	P256    = "P-256"
	P384    = "P-384"
	Ed25519 = "Ed25519"
	RSA     = "RSA"
)

// Signer signs with a key of its own.
type Signer struct{ key crypto.Signer }

// New makes a signer.
func New(kind string) Signer {
	var key crypto.Signer
	var err error
	switch kind {
	case P384:
		key, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case Ed25519:
		_, key, err = ed25519.GenerateKey(rand.Reader)
	case RSA:
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	default:
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		panic(err) // there is no lack of random numbers
	}
	return Signer{key}
}

// PEM is the public key.
func (s Signer) PEM() string { return Public(s.key.Public()) }

// Public is a public key in PEM.
func Public(key crypto.PublicKey) string {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		panic(err) // only for what is no key
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// PrivatePEM is the private key.
func (s Signer) PrivatePEM() string {
	der, err := x509.MarshalPKCS8PrivateKey(s.key)
	if err != nil {
		panic(err) // only for what is no key
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// Sign signs a message by the hash that goes with the key, or with SHA-256 if simple is set,
// as cosign signs payloads.
func (s Signer) Sign(message []byte, simple bool) []byte {
	sum256, sum384 := sha256.Sum256(message), sha512.Sum384(message)
	digest, hash := sum256[:], crypto.SHA256
	switch key := s.key.(type) {
	case ed25519.PrivateKey:
		digest, hash = message, 0
	case *ecdsa.PrivateKey:
		if key.Curve == elliptic.P384() && !simple {
			digest, hash = sum384[:], crypto.SHA384
		}
	}
	signature, err := s.key.Sign(rand.Reader, digest, hash)
	if err != nil {
		panic(err) // the digest has the size of the hash
	}
	return signature
}

// Payload is a simple signing payload.
func Payload(reference string, d oci.Digest) []byte {
	return fmt.Appendf(nil, `{"critical":{"identity":{"docker-reference":%q},"image":{"docker-manifest-digest":%q},"type":"cosign container image signature"},"optional":null}`, reference, d)
}

// Layer is a payload as a layer with its signature.
func (s Signer) Layer(payload []byte) ocitest.Content {
	layer := ocitest.New(cosign.SimpleSigning, payload)
	layer.Annotations = map[string]string{cosign.SignatureAnnotation: base64.StdEncoding.EncodeToString(s.Sign(payload, true))}
	return layer
}

// Simple is the manifest of layers under cosign's tag. It has the config of an image, as
// that of cosign.
func Simple(layers ...ocitest.Content) (ocitest.Content, ocitest.Content) {
	config := ocitest.Config([]byte(`{"architecture":"","created":"0001-01-01T00:00:00Z","os":"","rootfs":{"type":"layers","diff_ids":[]},"config":{}}`))
	return ocitest.Manifest(config, layers...), config
}

// Statement is an in-toto statement about d.
func Statement(predicate string, d oci.Digest) []byte {
	return fmt.Appendf(nil, `{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{%q:%q}}],"predicateType":%q}`, d.Algorithm(), d.Hex(), predicate)
}

// Attestation is an in-toto statement that says something about d, in JSON.
func Attestation(predicate string, said []byte, d oci.Digest) []byte {
	return fmt.Appendf(nil, `{"_type":"https://in-toto.io/Statement/v0.1","subject":[{"name":"app","digest":{%q:%q}}],"predicateType":%q,"predicate":%s}`,
		d.Algorithm(), d.Hex(), predicate, said)
}

// Envelope is a bundle with a signed statement.
func (s Signer) Envelope(statement []byte) []byte {
	return bundle("dsseEnvelope", s.envelope(statement))
}

// EnvelopeLayer is a signed statement as a layer by itself.
func (s Signer) EnvelopeLayer(statement []byte) ocitest.Content {
	b, err := json.Marshal(s.envelope(statement))
	if err != nil {
		panic(err) // it has only strings and bytes
	}
	return ocitest.New(cosign.Envelope, b)
}

func (s Signer) envelope(statement []byte) map[string]any {
	message := fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(cosign.InToto), cosign.InToto, len(statement), statement)
	return map[string]any{"payload": statement, "payloadType": cosign.InToto, "signatures": []any{map[string]any{"sig": s.Sign(message, false), "keyid": ""}}}
}

// Message is a bundle with a signature of a manifest's bytes.
func (s Signer) Message(manifest []byte) []byte {
	sum := sha256.Sum256(manifest)
	return bundle("messageSignature", map[string]any{
		"messageDigest": map[string]any{"algorithm": "SHA2_256", "digest": sum[:]}, "signature": s.Sign(manifest, false),
	})
}

func bundle(kind string, content any) []byte {
	b, err := json.Marshal(map[string]any{
		"mediaType": cosign.Bundle, "verificationMaterial": map[string]any{"publicKey": map[string]any{"hint": "of a test"}}, kind: content,
	})
	if err != nil {
		panic(err) // it has only strings and bytes
	}
	return b
}

// Referrer is the manifest of a bundle that refers to the subject, with its layer.
func Referrer(subject ocitest.Content, bundle []byte) (ocitest.Content, ocitest.Content) {
	layer := ocitest.New(cosign.Bundle, bundle)
	d := oci.Descriptor{MediaType: imagespec.MediaTypeImageManifest, Digest: subject.Digest, Size: subject.Size}
	return ocitest.Extra{ArtifactType: cosign.Bundle, Subject: &d}.Manifest(ocitest.Empty(), layer), layer
}
