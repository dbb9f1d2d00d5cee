// Package keylesstest is a small Sigstore for tests: an authority of certificates, a timestamp
// authority and the key of a log, which sign as cosign does without a key of one's own.
package keylesstest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/url"
	"strings"
	"time"

	"github.com/digitorus/timestamp"

	"github.com/berth-registry/berth/pkg/cosign"
	"github.com/berth-registry/berth/pkg/cosign/keyless"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
)

// Parts of a trusted root besides the authorities of certificates.
const (
	Logs       = "tlogs"
	Timestamps = "timestampAuthorities"
	CTLogs     = "ctlogs" // of which no certificate here has a proof
)

// life is how long a certificate is valid.
const life = 10 * time.Minute

// Sigstore signs for any identity.
type Sigstore struct {
	root, tsa            *x509.Certificate
	anchor               *x509.Certificate // that tsa is below
	rootKey, tsaKey, log *ecdsa.PrivateKey
}

// New makes one, whose authorities are valid from a year ago on.
func New() Sigstore {
	s := Sigstore{rootKey: newKey(), tsaKey: newKey(), log: newKey()}
	since, until := time.Now().AddDate(-1, 0, 0), time.Now().AddDate(1, 0, 0)
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "root"}, NotBefore: since, NotAfter: until,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	s.root = root
	s.root = s.issue(root, s.rootKey.Public())
	s.anchor = s.root
	// RFC 3161, section 2.3: the extended key usage of such a certificate is critical.
	usage := must(asn1.Marshal([]asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 8}}))
	s.tsa = s.issue(&x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "timestamps"}, NotBefore: since, NotAfter: until, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true, Value: usage}},
	}, s.tsaKey.Public())
	return s
}

func newKey() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) }

// must panics on errors of what depends on no input.
func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// Below makes one whose certificates are below an intermediate of s, which the roots of s do
// not list. Its timestamps are those of s.
func (s Sigstore) Below() Sigstore {
	key := newKey()
	s.root = s.issue(&x509.Certificate{
		SerialNumber: big.NewInt(4), Subject: pkix.Name{CommonName: "intermediate"}, NotBefore: s.root.NotBefore, NotAfter: s.root.NotAfter,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
	}, key.Public())
	s.rootKey = key
	return s
}

func (s Sigstore) issue(c *x509.Certificate, key crypto.PublicKey) *x509.Certificate {
	return must(x509.ParseCertificate(must(x509.CreateCertificate(rand.Reader, c, s.root, key, s.rootKey))))
}

// Root is the text of a trusted root that has the parts.
func (s Sigstore) Root(parts ...string) string {
	since := map[string]any{"start": s.root.NotBefore.Format(time.RFC3339)}
	chain := func(certificates ...*x509.Certificate) []any {
		var list []any
		for _, c := range certificates {
			list = append(list, map[string]any{"rawBytes": c.Raw})
		}
		return []any{map[string]any{"uri": "https://sigstore.example", "certChain": map[string]any{"certificates": list}, "validFor": since}}
	}
	logs := []any{map[string]any{
		"baseUrl": "https://rekor.example", "hashAlgorithm": "SHA2_256", "logId": map[string]any{"keyId": s.logID()},
		"publicKey": map[string]any{"rawBytes": spki(s.log.Public()), "keyDetails": "PKIX_ECDSA_P256_SHA_256", "validFor": since},
	}}
	root := map[string]any{"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1", "certificateAuthorities": chain(s.root)}
	for _, part := range parts {
		if root[part] = logs; part == Timestamps {
			root[part] = chain(s.tsa, s.anchor)
		}
	}
	return string(must(json.Marshal(root)))
}

func spki(key crypto.PublicKey) []byte { return must(x509.MarshalPKIXPublicKey(key)) }

func (s Sigstore) logID() []byte {
	sum := sha256.Sum256(spki(s.log.Public()))
	return sum[:]
}

// Signing is how one signature is made.
type Signing struct {
	keyless.Identity
	Before  time.Duration // now, the certificate was made
	Stamped bool          // by the timestamp authority, while the certificate was valid
	Late    bool          // the timestamp or entry is of now
	Logged  bool
}

func (h Signing) made() time.Time { return time.Now().Add(-h.Before).Truncate(time.Second) }

// proved is the time that the log or the timestamp authority says.
func (h Signing) proved() time.Time {
	if h.Late {
		return time.Now().Truncate(time.Second)
	}
	return h.made().Add(time.Second)
}

// Certificate makes the certificate of a key.
func (s Sigstore) Certificate(how Signing, key crypto.PublicKey) *x509.Certificate {
	c := &x509.Certificate{
		SerialNumber: big.NewInt(3), NotBefore: how.made(), NotAfter: how.made().Add(life),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
		// Of Fulcio, docs/oid-info.md: the issuer.
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 1}, Value: []byte(how.Issuer)}},
	}
	if strings.Contains(how.Subject, "://") {
		c.URIs = []*url.URL{must(url.Parse(how.Subject))}
	} else {
		c.EmailAddresses = []string{how.Subject}
	}
	return s.issue(c, key)
}

// signed is a signature with what proves it.
type signed struct {
	certificate *x509.Certificate
	signature   []byte
	stamp       []byte // nil: none
	entry       []byte // in the form of cosign's annotation; nil: none
}

func (s Sigstore) sign(message []byte, how Signing) signed {
	key, sum := newKey(), sha256.Sum256(message)
	one := signed{certificate: s.Certificate(how, key.Public()), signature: must(ecdsa.SignASN1(rand.Reader, key, sum[:]))}
	if how.Stamped {
		hashed := sha256.Sum256(one.signature)
		one.stamp = s.stamp(&timestamp.Request{HashAlgorithm: crypto.SHA256, HashedMessage: hashed[:], Certificates: true}, how.proved())
	}
	if how.Logged {
		one.entry = s.enter(sum[:], one, how.proved())
	}
	return one
}

func (s Sigstore) stamp(r *timestamp.Request, at time.Time) []byte {
	t := timestamp.Timestamp{
		HashAlgorithm: r.HashAlgorithm, HashedMessage: r.HashedMessage, Nonce: r.Nonce, Time: at,
		Policy: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 2}, AddTSACertificate: r.Certificates,
	}
	return must(t.CreateResponseWithOpts(s.tsa, s.tsaKey, crypto.SHA256))
}

// enter makes an entry of Rekor that is promised. What is signed has its keys in order
// (RFC 8785).
func (s Sigstore) enter(digest []byte, one signed, at time.Time) []byte {
	body := fmt.Sprintf(`{"apiVersion":"0.0.1","kind":"hashedrekord","spec":{"data":{"hash":{"algorithm":"sha256","value":%q}},"signature":{"content":%q,"publicKey":{"content":%q}}}}`,
		hex.EncodeToString(digest), base64.StdEncoding.EncodeToString(one.signature), base64.StdEncoding.EncodeToString(toPEM(one.certificate)))
	payload := fmt.Sprintf(`{"body":%q,"integratedTime":%d,"logID":%q,"logIndex":7}`, base64.StdEncoding.EncodeToString([]byte(body)), at.Unix(), hex.EncodeToString(s.logID()))
	sum := sha256.Sum256([]byte(payload))
	promise := must(ecdsa.SignASN1(rand.Reader, s.log, sum[:]))
	return fmt.Appendf(nil, `{"SignedEntryTimestamp":%q,"Payload":%s}`, base64.StdEncoding.EncodeToString(promise), payload)
}

func toPEM(certificates ...*x509.Certificate) []byte {
	var text []byte
	for _, c := range certificates {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return text
}

// Layer is a simple signing payload as a layer with its signature.
func (s Sigstore) Layer(payload []byte, how Signing) ocitest.Content {
	one := s.sign(payload, how)
	layer := ocitest.New(cosign.SimpleSigning, payload)
	layer.Annotations = map[string]string{
		cosign.SignatureAnnotation: base64.StdEncoding.EncodeToString(one.signature), keyless.CertificateAnnotation: string(toPEM(one.certificate)),
		"dev.sigstore.cosign/chain": string(toPEM(s.root)),
	}
	if one.stamp != nil {
		layer.Annotations[keyless.TimestampAnnotation] = string(must(json.Marshal(map[string]any{"SignedRFC3161Timestamp": one.stamp})))
	}
	if one.entry != nil {
		layer.Annotations[keyless.EntryAnnotation] = string(one.entry)
	}
	return layer
}

// Envelope is a bundle with a signed statement. It has no entry of a log, which would need a
// proof that the log includes it.
func (s Sigstore) Envelope(statement []byte, how Signing) []byte {
	const kind = "application/vnd.in-toto+json"
	one := s.sign(fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(kind), kind, len(statement), statement), how)
	return one.bundle("dsseEnvelope", map[string]any{"payload": statement, "payloadType": kind, "signatures": []any{map[string]any{"sig": one.signature}}})
}

// Message is a bundle with a signature of a manifest's bytes.
func (s Sigstore) Message(manifest []byte, how Signing) []byte {
	sum, one := sha256.Sum256(manifest), s.sign(manifest, how)
	return one.bundle("messageSignature", map[string]any{"messageDigest": map[string]any{"algorithm": "SHA2_256", "digest": sum[:]}, "signature": one.signature})
}

// Chained is a Message of version 0.2 of bundles, with the chain of its certificate.
func (s Sigstore) Chained(manifest []byte, how Signing) []byte {
	var b map[string]any
	if err := json.Unmarshal(s.Message(manifest, how), &b); err != nil {
		panic(err)
	}
	b["mediaType"] = "application/vnd.dev.sigstore.bundle+json;version=0.2"
	material := b["verificationMaterial"].(map[string]any)
	material["x509CertificateChain"] = map[string]any{"certificates": []any{material["certificate"], map[string]any{"rawBytes": s.root.Raw}}}
	delete(material, "certificate")
	return must(json.Marshal(b))
}

func (one signed) bundle(kind string, content any) []byte {
	material := map[string]any{"certificate": map[string]any{"rawBytes": one.certificate.Raw}}
	if one.stamp != nil {
		material["timestampVerificationData"] = map[string]any{"rfc3161Timestamps": []any{map[string]any{"signedTimestamp": one.stamp}}}
	}
	return must(json.Marshal(map[string]any{"mediaType": cosign.Bundle, "verificationMaterial": material, kind: content}))
}
