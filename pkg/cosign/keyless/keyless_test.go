package keyless_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/cosign"
	"github.com/berth-registry/berth/pkg/cosign/cosigntest"
	"github.com/berth-registry/berth/pkg/cosign/keyless"
	"github.com/berth-registry/berth/pkg/cosign/keyless/keylesstest"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
)

var (
	manifest = []byte(`{"schemaVersion": 2}`)
	digest   = oci.DigestOf(oci.SHA256, manifest)
	payload  = cosigntest.Payload("a/b", digest)
	said     = cosigntest.Statement(cosign.SignPredicate, digest)
	ada      = keyless.Identity{Issuer: "https://login.example", Subject: "ada@example.com"}
	workflow = keyless.Identity{Issuer: "https://ci.example", Subject: "https://ci.example/acme/app/release.yml@refs/tags/v1"}
)

func load() ([]byte, error) { return manifest, nil }

// noNetwork fails all that is sent.
type noNetwork struct{}

func (noNetwork) RoundTrip(r *http.Request) (*http.Response, error) {
	panic("a request was sent to " + r.URL.String())
}

func TestMain(m *testing.M) {
	http.DefaultTransport = noNetwork{}
	m.Run()
}

func parse(t testing.TB, text string) *keyless.Root {
	t.Helper()
	r, err := keyless.ParseRoot(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// signer is who has signed a layer.
func signer(r *keyless.Root, layer ocitest.Content) (keyless.Identity, error) {
	s, err := keyless.ReadSimple(layer.Bytes, layer.Annotations, digest)
	if err != nil {
		return keyless.Identity{}, err
	}
	return s.Signer(r)
}

// signerOf is who has signed a bundle.
func signerOf(r *keyless.Root, bundle []byte) (keyless.Identity, error) {
	s, err := keyless.ReadBundle(bundle, digest, load)
	if err != nil {
		return keyless.Identity{}, err
	}
	return s.Signer(r)
}

// TestW171_IdentitiesOfCertificates: both forms, each proof of the time, and what is wrong
// with a signature.
func TestW171_IdentitiesOfCertificates(t *testing.T) {
	local := keylesstest.New()
	both := parse(t, local.Root(keylesstest.Logs, keylesstest.Timestamps))
	stamps, logs := parse(t, local.Root(keylesstest.Timestamps)), parse(t, local.Root(keylesstest.Logs))
	foreign := parse(t, keylesstest.New().Root(keylesstest.Logs, keylesstest.Timestamps))
	strict := parse(t, local.Root(keylesstest.Logs, keylesstest.Timestamps, keylesstest.CTLogs))
	const longAgo = 30 * 24 * time.Hour
	for _, row := range []struct {
		name string
		root *keyless.Root
		how  keylesstest.Signing
		good bool
	}{
		{"a timestamp", both, keylesstest.Signing{Identity: ada, Stamped: true}, true},
		{"a workflow", both, keylesstest.Signing{Identity: workflow, Stamped: true}, true},
		{"expired, a timestamp", stamps, keylesstest.Signing{Identity: ada, Stamped: true, Before: longAgo}, true},
		{"no proof", both, keylesstest.Signing{Identity: ada}, false},
		{"expired, no proof", both, keylesstest.Signing{Identity: ada, Before: longAgo}, false},
		{"used after it expired", both, keylesstest.Signing{Identity: ada, Stamped: true, Before: longAgo, Late: true}, false},
		{"a timestamp that the root does not know", logs, keylesstest.Signing{Identity: ada, Stamped: true}, false},
		{"another root", foreign, keylesstest.Signing{Identity: ada, Stamped: true}, false},
		{"not in the log of certificates", strict, keylesstest.Signing{Identity: ada, Stamped: true}, false},
	} {
		bySimple, err := signer(row.root, local.Layer(payload, row.how))
		byEnvelope, err2 := signerOf(row.root, local.Envelope(said, row.how))
		byMessage, err3 := signerOf(row.root, local.Message(manifest, row.how))
		for form, got := range map[string]struct {
			who keyless.Identity
			err error
		}{"simple": {bySimple, err}, "envelope": {byEnvelope, err2}, "message": {byMessage, err3}} {
			if (got.err == nil) != row.good || row.good && got.who != row.how.Identity {
				t.Errorf("%s, %s: %v, %v", row.name, form, got.who, got.err)
			}
		}
	}
	for _, row := range []struct {
		name string
		root *keyless.Root
		how  keylesstest.Signing
		good bool
	}{
		{"logged", both, keylesstest.Signing{Identity: ada, Logged: true}, true},
		{"expired, logged", logs, keylesstest.Signing{Identity: ada, Logged: true, Before: longAgo}, true},
		{"logged after it expired", logs, keylesstest.Signing{Identity: ada, Logged: true, Before: longAgo, Late: true}, false},
		{"a log that the root does not know", stamps, keylesstest.Signing{Identity: ada, Logged: true}, false},
		{"that, and a timestamp", stamps, keylesstest.Signing{Identity: ada, Logged: true, Stamped: true}, true},
		{"a log of another root", foreign, keylesstest.Signing{Identity: ada, Logged: true}, false},
	} {
		if who, err := signer(row.root, local.Layer(payload, row.how)); (err == nil) != row.good || row.good && who != ada {
			t.Errorf("%s: %v, %v", row.name, who, err)
		}
	}
}

// TestW171_TamperedSignatures: what was signed, and every part of what proves it.
func TestW171_TamperedSignatures(t *testing.T) {
	local := keylesstest.New()
	root := parse(t, local.Root(keylesstest.Logs, keylesstest.Timestamps))
	how := keylesstest.Signing{Identity: ada, Stamped: true}
	other := oci.DigestOf(oci.SHA256, []byte("other"))
	if _, err := signerOf(root, local.Envelope(cosigntest.Statement(cosign.SignPredicate, other), how)); err == nil {
		t.Error("a statement about another manifest is taken")
	}
	if _, err := signerOf(root, local.Envelope(cosigntest.Statement("https://slsa.dev/provenance/v1", digest), how)); err == nil {
		t.Error("an attestation is taken")
	}
	if _, err := signerOf(root, local.Message([]byte("other"), how)); err == nil {
		t.Error("a signature of other bytes is taken")
	}
	if _, err := signer(root, local.Layer(cosigntest.Payload("a/b", other), how)); err == nil {
		t.Error("a payload about another manifest is taken")
	}
	// A good payload with the signature of another one.
	stolen := local.Layer(cosigntest.Payload("elsewhere", digest), how)
	stolen.Bytes = payload
	if _, err := signer(root, stolen); err == nil {
		t.Error("the signature of another payload is taken")
	}
	// The timestamp, and the entry, of another signature.
	for _, annotation := range []string{keyless.TimestampAnnotation, keyless.EntryAnnotation, keyless.CertificateAnnotation, cosign.SignatureAnnotation} {
		mixed, from := local.Layer(payload, keylesstest.Signing{Identity: ada, Logged: annotation == keyless.EntryAnnotation, Stamped: annotation != keyless.EntryAnnotation}),
			local.Layer(payload, keylesstest.Signing{Identity: workflow, Logged: true, Stamped: true})
		mixed.Annotations[annotation] = from.Annotations[annotation]
		if who, err := signer(root, mixed); err == nil {
			t.Errorf("%s of another signature is taken, by %v", annotation, who)
		}
	}
	// A statement that was changed after it was signed.
	bundle := string(local.Envelope(said, how))
	changed := strings.Replace(bundle, base64.StdEncoding.EncodeToString(said), base64.StdEncoding.EncodeToString(append(said[:len(said):len(said)], ' ')), 1)
	if changed == bundle {
		t.Fatal("nothing was changed")
	}
	if _, err := signerOf(root, []byte(changed)); err == nil {
		t.Error("a statement that was changed is taken")
	}
	// By a key alone, which no certificate is of.
	keyed := cosigntest.New(cosigntest.P256)
	if _, err := signerOf(root, keyed.Envelope(said)); !errors.Is(err, keyless.ErrNoCertificate) {
		t.Error(err)
	}
	if _, err := signer(root, keyed.Layer(payload)); !errors.Is(err, keyless.ErrNoCertificate) {
		t.Error(err)
	}
}

// TestW171_ChainsOfBundlesDoNotCount: a bundle brings the certificate, and no authority.
func TestW171_ChainsOfBundlesDoNotCount(t *testing.T) {
	local := keylesstest.New()
	below, root := local.Below(), parse(t, local.Root(keylesstest.Timestamps))
	how := keylesstest.Signing{Identity: ada, Stamped: true}
	if who, err := signerOf(root, local.Chained(manifest, how)); err != nil || who != ada {
		t.Errorf("a chain that ends at the root: %v, %v", who, err)
	}
	if who, err := signerOf(root, below.Chained(manifest, how)); err == nil {
		t.Errorf("an intermediate that the root does not list is taken, by %v", who)
	}
	if who, err := signerOf(parse(t, below.Root(keylesstest.Timestamps)), below.Chained(manifest, how)); err != nil || who != ada {
		t.Errorf("below a root that lists it: %v, %v", who, err)
	}
}

// TestW172_RootsThatAreNone are refused with a reason.
func TestW172_RootsThatAreNone(t *testing.T) {
	good := keylesstest.New().Root(keylesstest.Logs, keylesstest.Timestamps)
	for name, text := range map[string]string{
		"empty": "", "an object": "{}", "null": "null", "cut": good[:len(good)/2], "long": good + strings.Repeat(" ", keyless.MaxRoot),
		"of another type": strings.Replace(good, "trustedroot+json;version=0.1", "trustedroot+json;version=9", 1), "without proofs of time": keylesstest.New().Root(),
		"a wrong certificate": strings.Replace(good, `"rawBytes":"MII`, `"rawBytes":"AII`, 1), "without authorities": strings.Replace(good, `"certificateAuthorities":[{`, `"certificateAuthorities":[],"ctlogs":[{`, 1),
	} {
		if _, err := keyless.ParseRoot(text); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

// TestW172_ManyProofs are refused before any is verified.
func TestW172_ManyProofs(t *testing.T) {
	local := keylesstest.New()
	bundle := string(local.Envelope(said, keylesstest.Signing{Identity: ada, Stamped: true}))
	for from, to := range map[string]string{
		`"rfc3161Timestamps":[`: `"rfc3161Timestamps":[` + strings.Repeat(`{"signedTimestamp":"AAAA"},`, 4),
		`"signedTimestamp":"`:   `"signedTimestamp":"` + strings.Repeat("AAAA", 6<<10),
		`"rawBytes":"`:          `"rawBytes":"` + strings.Repeat("AAAA", 6<<10),
		`{"dsseEnvelope"`:       strings.Repeat(" ", keyless.MaxSignature) + `{"dsseEnvelope"`,
	} {
		large := strings.Replace(bundle, from, to, 1)
		if _, err := keyless.ReadBundle([]byte(large), digest, load); err == nil || large == bundle || !strings.Contains(err.Error(), "more than") {
			t.Errorf("%s: %v", from, err)
		}
	}
	layer := local.Layer(payload, keylesstest.Signing{Identity: ada, Stamped: true})
	layer.Annotations[keyless.EntryAnnotation] = strings.Repeat(" ", keyless.MaxSignature+1)
	if _, err := signer(parse(t, local.Root(keylesstest.Timestamps)), layer); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Error(err)
	}
}

func FuzzParseRoot(f *testing.F) {
	local := keylesstest.New()
	f.Add(local.Root(keylesstest.Logs, keylesstest.Timestamps, keylesstest.CTLogs))
	f.Add(local.Root(keylesstest.Timestamps))
	f.Add(`{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1","tlogs":[{}],"certificateAuthorities":[{}]}`)
	layer := local.Layer(payload, keylesstest.Signing{Identity: ada, Stamped: true, Logged: true})
	f.Fuzz(func(_ *testing.T, text string) {
		if r, err := keyless.ParseRoot(text); err == nil {
			_, _ = signer(r, layer) // which may be good: it is not to panic
		}
	})
}

func FuzzReadBundle(f *testing.F) {
	local := keylesstest.New()
	how := keylesstest.Signing{Identity: ada, Stamped: true, Logged: true}
	f.Add(local.Envelope(said, how))
	f.Add(local.Message(manifest, how))
	honest := parse(f, keylesstest.New().Root(keylesstest.Logs, keylesstest.Timestamps))
	f.Fuzz(func(t *testing.T, document []byte) {
		if who, err := signerOf(honest, document); err == nil {
			t.Errorf("signed by %v, whom the root does not know: %q", who, document)
		}
	})
}

func FuzzReadSimple(f *testing.F) {
	local := keylesstest.New()
	layer := local.Layer(payload, keylesstest.Signing{Identity: ada, Stamped: true, Logged: true})
	f.Add(layer.Bytes, layer.Annotations[cosign.SignatureAnnotation], layer.Annotations[keyless.CertificateAnnotation],
		layer.Annotations[keyless.EntryAnnotation], layer.Annotations[keyless.TimestampAnnotation])
	honest := parse(f, keylesstest.New().Root(keylesstest.Logs, keylesstest.Timestamps))
	f.Fuzz(func(t *testing.T, document []byte, signature, certificate, entry, stamp string) {
		forged := ocitest.New(cosign.SimpleSigning, document)
		forged.Annotations = map[string]string{
			cosign.SignatureAnnotation: signature, keyless.CertificateAnnotation: certificate, keyless.EntryAnnotation: entry, keyless.TimestampAnnotation: stamp,
		}
		if who, err := signer(honest, forged); err == nil {
			t.Errorf("signed by %v, whom the root does not know", who)
		}
	})
}

func Example() {
	local := keylesstest.New()
	layer := local.Layer(cosigntest.Payload("registry.example/app", digest), keylesstest.Signing{Identity: ada, Stamped: true})

	root, err := keyless.ParseRoot(local.Root(keylesstest.Timestamps))
	if err != nil {
		panic(err)
	}
	signature, err := keyless.ReadSimple(layer.Bytes, layer.Annotations, digest)
	if err != nil {
		panic(err)
	}
	who, err := signature.Signer(root)
	fmt.Println(who.Subject, err)
	// Output: ada@example.com <nil>
}
