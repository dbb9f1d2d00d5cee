package keyless

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"testing"

	"github.com/sigstore/sigstore-go/pkg/testing/data"
	"github.com/sigstore/sigstore-go/pkg/verify"
)

// TestW171_ThePublicSigstore verifies what its services have signed: a certificate that is in a
// log of certificates, and an entry of Rekor with its proof.
func TestW171_ThePublicSigstore(t *testing.T) {
	text, err := data.TrustedRoot(t, "public-good.json").MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	root, err := ParseRoot(string(text))
	if err != nil {
		t.Fatal(err)
	}
	b := data.Bundle(t, "sigstore.js@2.0.0-provenance.sigstore.json")
	var statement struct {
		Subject []struct{ Digest map[string]string }
	}
	if err := json.Unmarshal(b.GetDsseEnvelope().GetPayload(), &statement); err != nil {
		t.Fatal(err)
	}
	digest, err := hex.DecodeString(statement.Subject[0].Digest["sha512"])
	if err != nil {
		t.Fatal(err)
	}
	signer := func(digest []byte) (Identity, error) {
		s, err := read(b.Bundle, func() verify.ArtifactPolicyOption { return verify.WithArtifactDigest("sha512", digest) })
		if err != nil {
			return Identity{}, err
		}
		return s.Signer(root)
	}
	want := Identity{"https://token.actions.githubusercontent.com", "https://github.com/sigstore/sigstore-js/.github/workflows/release.yml@refs/heads/main"}
	if who, err := signer(digest); err != nil || who != want {
		t.Errorf("%v, %v", who, err)
	}
	digest[0]++
	if who, err := signer(digest); err == nil {
		t.Errorf("another digest is taken, signed by %v", who)
	}
	digest[0]--
	b.GetVerificationMaterial().GetTlogEntries()[0].GetInclusionProof().GetHashes()[0][0]++
	if who, err := signer(digest); err == nil {
		t.Errorf("another proof is taken, signed by %v, %s", who, base64.StdEncoding.EncodeToString(digest))
	}
}
