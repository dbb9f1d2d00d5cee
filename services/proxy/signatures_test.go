package proxy_test

import (
	"bytes"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/cosign"
	"github.com/berth-registry/berth/pkg/cosign/cosigntest"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/tools/testserver"
)

// signedBy makes a rule for the repositories that match the patterns.
func signedBy(patterns []string, keys ...string) func(*meta.UpstreamSettings) {
	return func(s *meta.UpstreamSettings) {
		s.Signatures = append(s.Signatures, meta.SignatureRule{Repositories: patterns, Keys: keys})
	}
}

// pushSimple pushes signatures of a manifest, in layers, as cosign does.
func pushSimple(up *testserver.Scripted, name string, m ocitest.Content, layers ...ocitest.Content) ocitest.Content {
	signature, config := cosigntest.Simple(layers...)
	for _, b := range append(slices.Clone(layers), config) {
		up.PushBlob(name, b)
	}
	up.PushManifest(name, signature, cosign.Tag(m.Digest))
	return signature
}

// sign signs a manifest by a simple signing payload.
func sign(up *testserver.Scripted, name string, m ocitest.Content, by cosigntest.Signer) ocitest.Content {
	return pushSimple(up, name, m, by.Layer(cosigntest.Payload("registry.example/"+name, m.Digest)))
}

// pushBundle pushes a bundle as a referrer of a manifest.
func pushBundle(up *testserver.Scripted, name string, m ocitest.Content, bundle []byte) ocitest.Content {
	referrer, layer := cosigntest.Referrer(m, bundle)
	up.PushBlob(name, layer)
	up.PushBlob(name, ocitest.Empty())
	up.PushManifest(name, referrer)
	return referrer
}

// served fails the test unless all paths are 200.
func (w *world) served(paths ...string) {
	w.t.Helper()
	for _, path := range paths {
		if a := w.get(path); a.Status != http.StatusOK {
			w.t.Errorf("%s: %d %s", path, a.Status, a.Body)
		}
	}
}

// TestT68_SignedIsServed: each form of a signature, by each kind of key.
func TestT68_SignedIsServed(t *testing.T) {
	for _, kind := range []string{cosigntest.P256, cosigntest.P384, cosigntest.Ed25519, cosigntest.RSA} {
		key := cosigntest.New(kind)
		for form, push := range map[string]func(*testserver.Scripted, ocitest.Content){
			"simple signing": func(up *testserver.Scripted, m ocitest.Content) { sign(up, testserver.ScriptedName, m, key) },
			"envelope": func(up *testserver.Scripted, m ocitest.Content) {
				pushBundle(up, testserver.ScriptedName, m, key.Envelope(cosigntest.Statement(cosign.SignPredicate, m.Digest)))
			},
			"message": func(up *testserver.Scripted, m ocitest.Content) {
				pushBundle(up, testserver.ScriptedName, m, key.Message(m.Bytes))
			},
		} {
			t.Run(kind+" "+form, func(t *testing.T) {
				w, up := newRules(t, signedBy(nil, cosigntest.New(cosigntest.P256).PEM(), key.PEM()))
				push(up, up.Image.Index)
				w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, up.Image)
				w.served(waysTo(testserver.ScriptedTag)...)
			})
		}
	}
}

// TestT68_UnsignedIsRefused: what is no signature of this manifest by this key.
func TestT68_UnsignedIsRefused(t *testing.T) {
	key, other := cosigntest.New(cosigntest.P256), cosigntest.New(cosigntest.P256)
	const name = testserver.ScriptedName
	image := func(up *testserver.Scripted) ocitest.Content { return up.Image.Index }
	envelope := func(predicate string, of ocitest.Content) []byte {
		return key.Envelope(cosigntest.Statement(predicate, of.Digest))
	}
	changed := func(layer ocitest.Content, b []byte) ocitest.Content {
		moved := ocitest.New(layer.MediaType, b)
		moved.Annotations = layer.Annotations
		return moved
	}
	for what, push := range map[string]func(*testserver.Scripted){
		"nothing":     func(*testserver.Scripted) {},
		"another key": func(up *testserver.Scripted) { sign(up, name, image(up), other) },
		"another key's bundle": func(up *testserver.Scripted) {
			pushBundle(up, name, image(up), other.Envelope(cosigntest.Statement(cosign.SignPredicate, image(up).Digest)))
		},
		"another manifest": func(up *testserver.Scripted) {
			pushSimple(up, name, image(up), key.Layer(cosigntest.Payload(name, up.Image.Config.Digest)))
		},
		"another manifest's bundle": func(up *testserver.Scripted) {
			pushBundle(up, name, image(up), envelope(cosign.SignPredicate, up.Image.Config))
		},
		"another manifest's bytes": func(up *testserver.Scripted) {
			pushBundle(up, name, image(up), key.Message(up.Image.Config.Bytes))
		},
		"an attestation": func(up *testserver.Scripted) {
			pushBundle(up, name, image(up), envelope("https://slsa.dev/provenance/v1", image(up)))
		},
		"a changed payload": func(up *testserver.Scripted) {
			layer := key.Layer(cosigntest.Payload(name, up.Image.Config.Digest))
			pushSimple(up, name, image(up), changed(layer, cosigntest.Payload(name, image(up).Digest)))
		},
		"cut JSON": func(up *testserver.Scripted) {
			payload := cosigntest.Payload(name, image(up).Digest)
			pushSimple(up, name, image(up), key.Layer(payload[:len(payload)-1]))
		},
		"a cut bundle": func(up *testserver.Scripted) {
			b := envelope(cosign.SignPredicate, image(up))
			pushBundle(up, name, image(up), b[:len(b)-1])
		},
		"a huge payload": func(up *testserver.Scripted) {
			payload := append(cosigntest.Payload(name, image(up).Digest), bytes.Repeat([]byte(" "), 1<<20)...)
			pushSimple(up, name, image(up), key.Layer(payload))
		},
		"no base64": func(up *testserver.Scripted) {
			layer := key.Layer(cosigntest.Payload(name, image(up).Digest))
			layer.Annotations = map[string]string{cosign.SignatureAnnotation: "?"}
			pushSimple(up, name, image(up), layer)
		},
		"an index under the tag": func(up *testserver.Scripted) {
			up.PushManifest(name, up.Image.Index, cosign.Tag(image(up).Digest))
		},
		"a payload that is gone": func(up *testserver.Scripted) {
			layer := key.Layer(cosigntest.Payload(name, image(up).Digest))
			signature, _ := cosigntest.Simple(layer)
			up.PushManifest(name, signature, cosign.Tag(image(up).Digest))
		},
		"thousands of layers": func(up *testserver.Scripted) {
			layers := slices.Repeat([]ocitest.Content{other.Layer(cosigntest.Payload(name, image(up).Digest))}, 9000)
			pushSimple(up, name, image(up), append(layers, key.Layer(cosigntest.Payload(name, image(up).Digest)))...)
		},
	} {
		t.Run(what, func(t *testing.T) {
			w, up := newRules(t, signedBy(nil, key.PEM()))
			push(up)
			ways := append(append(waysTo(testserver.ScriptedTag), waysTo(up.Image.Index.Digest.String())...), waysTo(up.Image.Manifest.Digest.String())...)
			for range 2 { // fetched, then cached
				w.refused("signatures", ways...)
				w.pass(tagTTL + time.Second)
			}
			up.Forget()
			w.refused("signatures", manifests+testserver.ScriptedTag)
			if n := up.Count("", "*"); n > 250 {
				t.Errorf("%d requests to the upstream", n)
			}
		})
	}
}
