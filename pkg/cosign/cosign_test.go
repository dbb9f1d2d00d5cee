package cosign_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/cosign"
	"github.com/berth-registry/berth/pkg/cosign/cosigntest"
	"github.com/berth-registry/berth/pkg/oci"
)

var (
	manifest = []byte(`{"schemaVersion": 2}`)
	digest   = oci.DigestOf(oci.SHA256, manifest)
)

func load() ([]byte, error) { return manifest, nil }

// key is the public key of the signer.
func key(t testing.TB, s cosigntest.Signer) cosign.Key {
	t.Helper()
	k, err := cosign.ParseKey(s.PEM())
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestT68_Signatures: each form by each kind of key, and each hash that signers use for it.
func TestT68_Signatures(t *testing.T) {
	other := key(t, cosigntest.New(cosigntest.P256))
	for _, kind := range []string{cosigntest.P256, cosigntest.P384, cosigntest.Ed25519, cosigntest.RSA} {
		signer := cosigntest.New(kind)
		k := key(t, signer)
		layer := signer.Layer(cosigntest.Payload("a/b", digest))
		simple, err := cosign.ReadSimple(layer.Bytes, layer.Annotations[cosign.SignatureAnnotation], digest)
		if err != nil || !simple.VerifiedBy(k) || simple.VerifiedBy(other) {
			t.Errorf("%s, simple signing: %v", kind, err)
		}
		for name, bundle := range map[string][]byte{
			"envelope": signer.Envelope(cosigntest.Statement(cosign.SignPredicate, digest)), "message": signer.Message(manifest),
		} {
			s, err := cosign.ReadBundle(bundle, digest, load)
			if err != nil || !s.VerifiedBy(k) || s.VerifiedBy(other) {
				t.Errorf("%s, %s: %v", kind, name, err)
			}
		}
	}
	if s := (cosign.Signature{}); s.VerifiedBy(other) {
		t.Error("nothing is signed")
	}
}

// TestT68_BundlesThatAreNone are refused with a reason.
func TestT68_BundlesThatAreNone(t *testing.T) {
	signer := cosigntest.New(cosigntest.P256)
	good := string(signer.Envelope(cosigntest.Statement(cosign.SignPredicate, digest)))
	message := string(signer.Message(manifest))
	other := oci.DigestOf(oci.SHA256, []byte("other"))
	statement := func(from, to string) string {
		return string(signer.Envelope([]byte(strings.Replace(string(cosigntest.Statement(cosign.SignPredicate, digest)), from, to, 1))))
	}
	for what, text := range map[string]string{
		"cut":                good[:len(good)/2],
		"nothing":            "{}",
		"null":               "null",
		"both":               strings.TrimSuffix(good, "}") + "," + message[1:],
		"no statement":       strings.Replace(good, "application/vnd.in-toto+json", "text/plain", 1),
		"another manifest":   string(signer.Envelope(cosigntest.Statement(cosign.SignPredicate, other))),
		"another algorithm":  statement("sha256", "sha512"),
		"an attestation":     string(signer.Envelope(cosigntest.Statement("https://slsa.dev/provenance/v1", digest))),
		"another type":       statement("in-toto.io/Statement/v1", "in-toto.io/Statement/v9"),
		"no JSON":            statement("}", ""),
		"another's message":  string(signer.Message([]byte("other"))),
		"the digest in text": strings.Replace(good, `"payload":"`, `"payload":"?`, 1),
	} {
		if _, err := cosign.ReadBundle([]byte(text), digest, load); err == nil {
			t.Errorf("%s is taken", what)
		}
	}
	if _, err := cosign.ReadBundle([]byte(good), oci.DigestOf(oci.SHA512, manifest), load); err == nil {
		t.Error("a statement about another digest is taken")
	}
	many := strings.Replace(good, `"signatures":[`, `"signatures":[`+strings.Repeat(`{"sig":"AAAA"},`, 10), 1)
	if s, err := cosign.ReadBundle([]byte(many), digest, load); err != nil || s.VerifiedBy(key(t, signer)) {
		t.Errorf("the eleventh signature was tried: %v", err)
	}
}

func FuzzParseKey(f *testing.F) {
	for _, kind := range []string{cosigntest.P256, cosigntest.P384, cosigntest.Ed25519, cosigntest.RSA} {
		f.Add(cosigntest.New(kind).PEM())
		f.Add(cosigntest.New(kind).PrivatePEM())
	}
	payload := cosigntest.Payload("a", digest)
	f.Fuzz(func(t *testing.T, text string) {
		k, err := cosign.ParseKey(text)
		if err != nil {
			return
		}
		if s, err := cosign.ReadSimple(payload, "AAAA", digest); err != nil || s.VerifiedBy(k) {
			t.Errorf("a key for which all is signed: %q, %v", text, err)
		}
	})
}

func FuzzReadBundle(f *testing.F) {
	signer, honest := cosigntest.New(cosigntest.P256), key(f, cosigntest.New(cosigntest.P256))
	f.Add(signer.Envelope(cosigntest.Statement(cosign.SignPredicate, digest)))
	f.Add(signer.Message(manifest))
	f.Add(cosigntest.Payload("a", digest))
	f.Fuzz(func(t *testing.T, document []byte) {
		if s, err := cosign.ReadBundle(document, digest, load); err == nil && s.VerifiedBy(honest) {
			t.Errorf("it is verified by a key that signed nothing: %q", document)
		}
		if s, err := cosign.ReadSimple(document, "AAAA", digest); err == nil && s.VerifiedBy(honest) {
			t.Errorf("it is verified by a key that signed nothing: %q", document)
		}
	})
}

func TestParseKey_NeverRepeatsIt(t *testing.T) {
	private := cosigntest.New(cosigntest.P256).PrivatePEM()
	_, err := cosign.ParseKey(private)
	if err == nil || strings.Contains(err.Error(), strings.Split(private, "\n")[1][:20]) {
		t.Error(err)
	}
}

func Example() {
	signer := cosigntest.New(cosigntest.P256)
	layer := signer.Layer(cosigntest.Payload("registry.example/app", digest))

	key, err := cosign.ParseKey(signer.PEM())
	if err != nil {
		panic(err)
	}
	signature, err := cosign.ReadSimple(layer.Bytes, layer.Annotations[cosign.SignatureAnnotation], digest)
	if err != nil {
		panic(err)
	}
	fmt.Println(cosign.Tag(digest)[:14], signature.VerifiedBy(key))
	// Output: sha256-c5d902c true
}
