package proxy_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/berth-registry/berth/pkg/cosign"
	"github.com/berth-registry/berth/pkg/cosign/cosigntest"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/tools/testserver"
)

// TestT69_RulesOfRepositories: each rule for a repository must be met, in any order, and
// approved_digests go before.
func TestT69_RulesOfRepositories(t *testing.T) {
	one, two := cosigntest.New(cosigntest.P256), cosigntest.New(cosigntest.RSA)
	w, up := newRules(t, func(s *meta.UpstreamSettings) {
		signedBy([]string{"other/**"}, cosigntest.New(cosigntest.P256).PEM())(s)
		signedBy([]string{"library/*"}, one.PEM())(s)
		signedBy(nil, two.PEM(), cosigntest.New(cosigntest.P384).PEM())(s)
	})
	const name = testserver.ScriptedName
	payload := cosigntest.Payload("", up.Image.Index.Digest)
	ways := append(waysTo(testserver.ScriptedTag), waysTo(up.Image.Manifest.Digest.String())...)
	w.refused("each rule", ways...)
	pushSimple(up, name, up.Image.Index, one.Layer(payload))
	w.pass(tagTTL)
	w.refused("each rule", ways...)
	pushSimple(up, name, up.Image.Index, two.Layer(payload))
	w.pass(tagTTL)
	w.refused("each rule", ways...)
	pushBundle(up, name, up.Image.Index, one.Message(up.Image.Index.Bytes))
	w.pass(tagTTL)
	w.served(ways...)

	free := ocitest.NewImage(7, 10)
	up.Push("free", free, "1")
	w.refused("all repositories", "/v2/free/manifests/1")
	w.change("hub", func(s *meta.UpstreamSettings) { s.ApprovedDigests = []oci.Digest{free.Index.Digest} })
	w.wantPull("", "free", "1", free)
	w.change("hub", func(s *meta.UpstreamSettings) { s.Signatures = s.Signatures[:2] })
	up.Push("free", ocitest.NewImage(8, 10), "2")
	w.served("/v2/free/manifests/2")
}

// TestT69_ChildrenOfSignedIndexes are served with it, and not with another index.
func TestT69_ChildrenOfSignedIndexes(t *testing.T) {
	key := cosigntest.New(cosigntest.Ed25519)
	w, up := newRules(t, signedBy(nil, key.PEM()))
	const name = testserver.ScriptedName
	outer := ocitest.Index(up.Image.Index)
	up.PushManifest(name, outer, "outer")
	child := manifests + up.Image.Manifest.Digest.String()
	w.refused("signatures", child, manifests+"outer", manifests+testserver.ScriptedTag, manifests+testserver.ScriptedSingleTag)
	sign(up, name, outer, key)
	w.pass(tagTTL)
	w.served(child, manifests+"outer", manifests+testserver.ScriptedTag, manifests+testserver.ScriptedSingleTag)

	unsigned := ocitest.Extra{Annotations: map[string]string{"a": "b"}}.Index(up.Image.Manifest)
	up.PushManifest(name, unsigned, "unsigned")
	w.refused("signatures", manifests+"unsigned")

	// A signature of a manifest does not sign an index that lists it.
	single := ocitest.NewImage(9, 10)
	up.Push("single", single, "1")
	sign(up, "single", single.Manifest, key)
	w.refused("signatures", "/v2/single/manifests/1")
	w.served("/v2/single/manifests/" + single.Manifest.Digest.String())
}

// tagged is a path of a manifest of the scripted image's repository by the tag of another's
// signature.
func tagged(up *testserver.Scripted, m ocitest.Content, suffix string) string {
	tag := "sha256-" + m.Digest.Hex() + suffix
	up.PushManifest(testserver.ScriptedName, m, tag)
	return manifests + tag
}

// TestT69_EvidenceNeedsNoSignature: signatures, attestations and SBOMs, by tag and digest,
// also where platforms are limited.
func TestT69_EvidenceNeedsNoSignature(t *testing.T) {
	const name = testserver.ScriptedName
	key := cosigntest.New(cosigntest.P256)
	w, up := newRules(t, func(s *meta.UpstreamSettings) {
		signedBy(nil, cosigntest.New(cosigntest.P256).PEM())(s)
		s.Platforms = []string{"linux/*"}
	})
	signature := sign(up, name, up.Image.Index, key)
	bundle := pushBundle(up, name, up.Image.Index, key.Envelope(cosigntest.Statement("https://slsa.dev/provenance/v1", up.Image.Index.Digest)))
	bundle.ArtifactType = cosign.Bundle
	paths := []string{manifests + cosign.Tag(up.Image.Index.Digest), manifests + signature.Digest.String(), manifests + bundle.Digest.String()}
	paths = append(paths, tagged(up, ocitest.Index(bundle), ""))
	for mediaType, text := range map[string]string{
		"application/vnd.dsse.envelope.v1+json": `{"payload": ""}`,
		"text/spdx":                             "SPDXVersion: SPDX-2.3\n" + string(bytes.Repeat([]byte("Created: 2026\n"), 100)),
		"application/vnd.cyclonedx+xml":         "<?xml version=\"1.0\"?><bom/>",
		"application/cose":                      "\xd2\x84\x43",
	} {
		layer := ocitest.New(mediaType, []byte(text))
		m, config := cosigntest.Simple(layer)
		up.PushBlob(name, layer)
		up.PushBlob(name, config)
		paths = append(paths, tagged(up, m, ".att"))
	}
	for _, path := range paths {
		w.served(path)
		if a := w.head(path); a.Status != 200 {
			t.Errorf("HEAD %s: %d", path, a.Status)
		}
	}
	w.refused("signatures", manifests+testserver.ScriptedTag)
}

// TestT69_DisguisedImagesAreRefused: images that look like signatures.
func TestT69_DisguisedImagesAreRefused(t *testing.T) {
	const name = testserver.ScriptedName
	w, up := newRules(t, signedBy(nil, cosigntest.New(cosigntest.P256).PEM()))
	push := func(layers ...ocitest.Content) string {
		for _, layer := range layers {
			up.PushBlob(name, layer)
		}
		m, config := cosigntest.Simple(layers...)
		up.PushBlob(name, config)
		return tagged(up, m, ".sig")
	}
	archive := func(layer ocitest.Content) ocitest.Content { return ocitest.New(cosign.SimpleSigning, layer.Bytes) }
	document := ocitest.New(cosign.SimpleSigning, []byte(`{"critical": {}}`))
	gone := ocitest.New(cosign.SimpleSigning, []byte(`{"gone": {}}`))
	withGone, _ := cosigntest.Simple(gone)
	w.refused("signatures",
		tagged(up, up.Image.Manifest, ".sig"),
		tagged(up, up.Image.Index, ".sbom"),
		push(archive(up.Image.Layers[0])),
		push(document, archive(up.Image.Layers[0])),
		push(document, up.Image.Layers[0]),
		push(archive(ocitest.Layer(polyglot()))),
		push(),
		tagged(up, withGone, ".att"),
		push(slices.Repeat([]ocitest.Content{document}, 101)...),
	)
	disguised := up.Image.Manifest
	disguised.ArtifactType = cosign.Bundle
	path := tagged(up, ocitest.Index(disguised), "")
	w.served(path) // a list of referrers: what is in it is checked itself
	w.refused("signatures", manifests+up.Image.Manifest.Digest.String())
}

// polyglot is JSON that is also a tar archive: its header is one long string.
func polyglot() []byte {
	block := append([]byte(`{"`), bytes.Repeat([]byte("a"), 510)...)
	copy(block[100:], "0000644 0000000 0000000 00000000012 00000000000 ")
	copy(block[148:], "        0")
	sum := 0
	for _, b := range block {
		sum += int(b)
	}
	copy(block[148:], fmt.Sprintf("%07o ", sum))
	return append(block, bytes.Repeat([]byte("b"), 510)...)
}
