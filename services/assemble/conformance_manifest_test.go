package assemble_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	imagespec "github.com/opencontainers/image-spec/specs-go/v1"
)

// wantPushed fails the test unless the manifest was made and its Location
// leads to it.
func (r repository) wantPushed(t *testing.T, a answer, m manifest) {
	t.Helper()
	a.want(t, http.StatusCreated).wantHeader(t, "Docker-Content-Digest", m.Digest.String())
	r.get(t, a.location(t), "Accept", m.MediaType).want(t, http.StatusOK).wantBody(t, m.payload)
}

// tagsOf are the tags an answer says were made: OCI-Tag, repeated or a list.
func tagsOf(a answer) []string {
	var tags []string
	for _, value := range a.header.Values("OCI-Tag") {
		for tag := range strings.SplitSeq(value, ",") {
			tags = append(tags, strings.TrimSpace(tag))
		}
	}
	slices.Sort(tags)
	return tags
}

// pad makes a manifest of exactly that size, by an annotation.
func pad(t *testing.T, size int) manifest {
	t.Helper()
	of := func(n int) manifest {
		return index(t, func(doc *imagespec.Index) {
			doc.Annotations = map[string]string{"org.example.padding": strings.Repeat("a", n)}
		})
	}
	return of(size - len(of(0).payload))
}

const maxManifest = 4 << 20

var pushManifestRequirements = []requirement{
	{"Pushing Manifests", must, "by tag: 201 with a Location from which it is pulled", func(t *testing.T, r repository) {
		m := r.image(t, nil)
		r.wantPushed(t, r.putManifest(t, "latest", m), m)
		r.wantManifest(t, "latest", m)
	}},
	{"Pushing Manifests", must, "by digest: 201 with a Location from which it is pulled", func(t *testing.T, r repository) {
		m := r.image(t, nil)
		r.wantPushed(t, r.putManifest(t, m.Digest.String(), m), m)
		r.wantManifest(t, m.Digest.String(), m)
	}},
	{"Pushing Manifests", ours, "by a digest of sha512", func(t *testing.T, r repository) {
		m := r.image(t, nil).in(digest.SHA512)
		r.wantPushed(t, r.putManifest(t, m.Digest.String(), m), m)
		r.wantManifest(t, m.Digest.String(), m)
	}},
	{"Pushing Manifests", ours, "again, by the same tag: 201", func(t *testing.T, r repository) {
		m := r.push(t, r.image(t, nil), "latest")
		r.wantPushed(t, r.putManifest(t, "latest", m), m)
	}},
	{"Pushing Manifests", must, "a tag that is pushed again leads to the newer manifest, the older keeps its digest", func(t *testing.T, r repository) {
		older := r.push(t, r.image(t, nil), "latest", "first")
		newer := r.push(t, r.image(t, nil), "latest")
		r.wantManifest(t, "latest", newer)
		r.wantManifest(t, "first", older)
		r.wantManifest(t, older.Digest.String(), older)
	}},
	{"Pushing Manifests", must, "a digest that does not match is 400, and the manifest is not there", func(t *testing.T, r repository) {
		m := r.image(t, nil)
		real := m.Digest
		m.payload = append(m.payload, "  "...)
		r.putManifest(t, real.String(), m).want(t, http.StatusBadRequest).wantCode(t, "DIGEST_INVALID")
		r.putManifest(t, digest.SHA512.FromString("else").String(), m).want(t, http.StatusBadRequest).wantCode(t, "DIGEST_INVALID")
		r.wantNoManifest(t, real.String())
		r.wantNoManifest(t, digest.FromBytes(m.payload).String())
	}},
	{"Pushing Manifests", ours, "a reference that is neither tag nor digest is 400", func(t *testing.T, r repository) {
		m := r.image(t, nil)
		for _, reference := range []string{"-a", ".a", "a+b", strings.Repeat("a", 129)} {
			r.putManifest(t, reference, m).want(t, http.StatusBadRequest).wantCode(t, "MANIFEST_INVALID")
		}
		for _, reference := range []string{"sha256:baddigeststring", "md5:9a0364b9e99bb480dd25e1f0284c8555", "sha256:" + strings.ToUpper(m.Digest.Encoded())} {
			r.putManifest(t, reference, m).want(t, http.StatusBadRequest).wantCode(t, "DIGEST_INVALID")
		}
	}},
	{"Pushing Manifests", should, "parameters of Content-Type are ignored", func(t *testing.T, r repository) {
		m := r.image(t, nil)
		for _, contentType := range []string{typeImage + "; charset=utf-8", typeImage + ";a=b ; c=d", strings.ToUpper(typeImage)} {
			r.send(t, request{
				method: http.MethodPut, target: r.at("manifests/latest"),
				header: headers("Content-Type", contentType), body: m.payload,
			}).want(t, http.StatusCreated)
		}
		r.wantManifest(t, "latest", m)
	}},
	{"Pushing Manifests", ours, "without Content-Type, mediaType says what it is", func(t *testing.T, r repository) {
		m := r.image(t, nil)
		r.send(t, request{method: http.MethodPut, target: r.at("manifests/latest"), body: m.payload}).want(t, http.StatusCreated)
		r.wantManifest(t, "latest", m)
	}},
	{"Pushing Manifests", should, "without mediaType, Content-Type says what it is", func(t *testing.T, r repository) {
		m := r.image(t, func(doc *imagespec.Manifest) { doc.MediaType = "" })
		m.MediaType = typeImage
		r.push(t, m, "latest")
		r.wantManifest(t, "latest", m)
	}},
	{"Pushing Manifests", ours, "a mediaType that is not the Content-Type is 400", func(t *testing.T, r repository) {
		m := r.image(t, nil)
		for _, contentType := range []string{typeDocker, typeIndex, "application/json", "text/html"} {
			m.MediaType = contentType
			r.putManifest(t, "latest", m).want(t, http.StatusBadRequest).wantCode(t, "MANIFEST_INVALID")
		}
		r.wantNoManifest(t, "latest")
	}},
	{"Pushing Manifests", ours, "the media type of a digest never changes", func(t *testing.T, r repository) {
		m := r.image(t, func(doc *imagespec.Manifest) { doc.MediaType = "" })
		m.MediaType = typeImage
		r.push(t, m)
		other := m
		other.MediaType = typeDocker
		r.putManifest(t, "latest", other).want(t, http.StatusBadRequest).wantCode(t, "MANIFEST_INVALID")
		r.wantManifest(t, m.Digest.String(), m)
	}},
	{"Pushing Manifests", ours, "what is not the JSON of a manifest is 400", func(t *testing.T, r repository) {
		m := r.image(t, nil)
		for _, payload := range []string{
			"", "blablabla", "{", "[]", "null", `"manifest"`, "{}", `{"schemaVersion":1}`,
			string(m.payload) + string(m.payload),
			strings.Replace(string(m.payload), `"layers"`, `"Layers"`, 1),
			strings.Replace(string(m.payload), `{`, `{"layers":[],`, 1),
			strings.Replace(string(m.payload), `{`, `{"manifests":[],`, 1),
		} {
			bad := manifest{describe(typeImage, []byte(payload)), []byte(payload)}
			r.putManifest(t, "latest", bad).want(t, http.StatusBadRequest).wantCode(t, "MANIFEST_INVALID")
			r.putManifest(t, bad.Digest.String(), bad).want(t, http.StatusBadRequest).wantCode(t, "MANIFEST_INVALID")
		}
	}},
	{"Push", must, "a manifest whose blobs are missing is refused with MANIFEST_BLOB_UNKNOWN", func(t *testing.T, r repository) {
		missing := describe(typeLayer, random(t, 10))
		for _, edit := range []func(*imagespec.Manifest){
			func(doc *imagespec.Manifest) { doc.Layers = append(doc.Layers, missing) },
			func(doc *imagespec.Manifest) { doc.Config = missing },
		} {
			m := r.image(t, edit)
			r.putManifest(t, "latest", m).want(t, http.StatusNotFound, http.StatusBadRequest).wantCode(t, "MANIFEST_BLOB_UNKNOWN")
			r.wantNoManifest(t, m.Digest.String())
		}
		r.wantNoManifest(t, "latest")
	}},
	{"Push", ours, "blobs of another repository do not count", func(t *testing.T, r repository) {
		m := r.sibling("other").image(t, nil)
		r.blob(t, 1)
		r.putManifest(t, "latest", m).want(t, http.StatusNotFound, http.StatusBadRequest).wantCode(t, "MANIFEST_BLOB_UNKNOWN")
	}},
	{"Push", must, "an index whose manifests are missing is refused with MANIFEST_BLOB_UNKNOWN", func(t *testing.T, r repository) {
		there := r.push(t, r.image(t, nil))
		m := index(t, nil, there, r.image(t, nil))
		r.putManifest(t, "latest", m).want(t, http.StatusNotFound, http.StatusBadRequest).wantCode(t, "MANIFEST_BLOB_UNKNOWN")
		r.wantNoManifest(t, "latest")
	}},
	{"Pushing Manifests", should, "manifests of up to 4 MiB are taken, larger ones are 413", func(t *testing.T, r repository) {
		for _, size := range []int{4_000_000, maxManifest} {
			m := pad(t, size)
			r.push(t, m, "large")
			r.wantManifest(t, "large", m)
		}
		for _, size := range []int{maxManifest + 1, 2 * maxManifest} {
			m := pad(t, size)
			r.putManifest(t, "larger", m).want(t, http.StatusRequestEntityTooLarge)
			r.send(t, request{
				method: http.MethodPut, target: r.at("manifests/larger"),
				header: headers("Content-Type", m.MediaType), stream: streamOf(m.payload),
			}).want(t, http.StatusRequestEntityTooLarge)
		}
		r.wantNoManifest(t, "larger")
	}},
	{"Pushing Manifests", must, "tags beside a digest: each is made and named in OCI-Tag", func(t *testing.T, r repository) {
		for _, algorithm := range []digest.Algorithm{digest.SHA256, digest.SHA512} {
			m := r.image(t, nil).in(algorithm)
			var tags []string
			for i := range 10 {
				tags = append(tags, fmt.Sprintf("%s-%d", algorithm, i))
			}
			a := r.putManifest(t, m.Digest.String()+"?tag="+strings.Join(tags, "&tag="), m)
			r.wantPushed(t, a, m)
			if got := tagsOf(a); !slices.Equal(got, tags) {
				t.Errorf("got OCI-Tag %v, want %v", got, tags)
			}
			for _, tag := range tags {
				r.wantManifest(t, tag, m)
			}
		}
	}},
	{"Pushing Manifests", ours, "tags beside a digest: all or none", func(t *testing.T, r repository) {
		m := r.image(t, nil)
		r.putManifest(t, m.Digest.String()+"?tag=good&tag=-bad", m).want(t, http.StatusBadRequest).wantCode(t, "MANIFEST_INVALID")
		r.putManifest(t, absent.String()+"?tag=good", m).want(t, http.StatusBadRequest).wantCode(t, "DIGEST_INVALID")
		r.wantNoManifest(t, "good")
		r.wantNoManifest(t, m.Digest.String())
	}},
	{"Pushing Manifests", ours, "without tags there is no OCI-Tag, without subject no OCI-Subject", func(t *testing.T, r repository) {
		r.putManifest(t, "latest", r.image(t, nil)).want(t, http.StatusCreated).wantNoHeader(t, "OCI-Tag").wantNoHeader(t, "OCI-Subject")
	}},
}

var contentRequirements = []requirement{
	{"Pushing Manifests", must, "an image without layers", func(t *testing.T, r repository) {
		m := r.image(t, func(doc *imagespec.Manifest) { doc.Layers = []imagespec.Descriptor{} })
		r.wantManifest(t, "latest", r.push(t, m, "latest"))
	}},
	{"Pushing Manifests", must, "an index, one in another, one of none", func(t *testing.T, r repository) {
		first := r.push(t, index(t, nil, r.push(t, r.image(t, nil)), r.push(t, r.image(t, nil))), "first")
		second := r.push(t, index(t, nil, r.push(t, r.image(t, nil))), "second")
		nested := r.push(t, index(t, nil, first, second), "nested")
		none := r.push(t, index(t, nil), "none")
		for tag, m := range map[string]manifest{"first": first, "second": second, "nested": nested, "none": none} {
			r.wantManifest(t, tag, m)
			r.wantManifest(t, m.Digest.String(), m)
		}
	}},
	{"Pushing Manifests", ours, "an index whose manifests have digests of sha512", func(t *testing.T, r repository) {
		child := r.push(t, r.image(t, nil).in(digest.SHA512))
		m := r.push(t, index(t, nil, child).in(digest.SHA512))
		r.wantManifest(t, m.Digest.String(), m)
	}},
	{"Pushing Manifests", ours, "Docker's schema 2 and its list", func(t *testing.T, r repository) {
		image := r.image(t, func(doc *imagespec.Manifest) {
			doc.MediaType = typeDocker
			doc.Config.MediaType = "application/vnd.docker.container.image.v1+json"
			doc.Layers[0].MediaType = "application/vnd.docker.image.rootfs.diff.tar.gzip"
		})
		r.wantManifest(t, "image", r.push(t, image, "image"))
		list := index(t, func(doc *imagespec.Index) { doc.MediaType = typeDockerList }, image)
		r.wantManifest(t, "list", r.push(t, list, "list"))
	}},
	{"Pushing Manifests", ours, "Docker's schema 1 is 400", func(t *testing.T, r repository) {
		payload := []byte(`{"schemaVersion":1,"name":"app","tag":"latest","architecture":"amd64","fsLayers":[],"history":[],"signatures":[]}`)
		m := manifest{describe("application/vnd.docker.distribution.manifest.v1+prettyjws", payload), payload}
		r.putManifest(t, "latest", m).want(t, http.StatusBadRequest).wantCode(t, "MANIFEST_INVALID")
	}},
	{"Pushing Manifests", must, "an artifact, one without content, an index of artifacts", func(t *testing.T, r repository) {
		const artifactType = "application/vnd.example.artifact.v1"
		artifact := r.push(t, r.artifact(t, artifactType, nil), "artifact")
		bare := r.push(t, r.artifact(t, artifactType, func(doc *imagespec.Manifest) {
			doc.Layers = []imagespec.Descriptor{doc.Config}
		}), "bare")
		list := r.push(t, index(t, func(doc *imagespec.Index) { doc.ArtifactType = artifactType }, artifact, bare), "list")
		for tag, m := range map[string]manifest{"artifact": artifact, "bare": bare, "list": list} {
			r.wantManifest(t, tag, m)
		}
	}},
	{"Pushing Manifests", must, "descriptors with embedded data", func(t *testing.T, r repository) {
		m := r.artifact(t, "application/vnd.example.artifact.v1", func(doc *imagespec.Manifest) { doc.Config.Data = []byte("{}") })
		r.wantManifest(t, "latest", r.push(t, m, "latest"))
	}},
	{"Pushing Manifests", must, "members that the specs do not know", func(t *testing.T, r repository) {
		m := r.image(t, nil)
		payload := bytes.Replace(m.payload, []byte(`{`), []byte(`{"org.example.field":{"a":[1,2.5e3,null,"x"]},`), 1)
		if !json.Valid(payload) {
			t.Fatalf("not JSON: %s", payload)
		}
		m = manifest{describe(typeImage, payload), payload}
		r.wantManifest(t, "latest", r.push(t, m, "latest"))
	}},
	{"Pushing Manifests", must, "layers that must not be distributed need not be there", func(t *testing.T, r repository) {
		const url = "https://store.example.com/layer"
		m := r.image(t, func(doc *imagespec.Manifest) {
			for _, mediaType := range []string{
				"application/vnd.oci.image.layer.nondistributable.v1.tar",
				"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
				"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
			} {
				d := describe(mediaType, random(t, 100))
				d.URLs = []string{url}
				doc.Layers = append(doc.Layers, d)
			}
		})
		r.wantManifest(t, "latest", r.push(t, m, "latest"))
	}},
	{"Pushing Manifests", ours, "an index of blobs, as build caches make", func(t *testing.T, r repository) {
		layer, _ := r.blob(t, 100)
		config := r.blobOf(t, "application/vnd.buildkit.cacheconfig.v0", []byte(`{"layers":[{"blob":"x","parent":-1}]}`))
		m := index(t, func(doc *imagespec.Index) { doc.Manifests = []imagespec.Descriptor{layer, config} })
		r.wantManifest(t, "cache", r.push(t, m, "cache"))
	}},
	{"Push", ours, "where missing references are allowed, an image and an index may be sparse", func(t *testing.T, r repository) {
		r = r.inSparse()
		image := r.image(t, func(doc *imagespec.Manifest) { doc.Layers = append(doc.Layers, describe(typeLayer, random(t, 10))) })
		r.wantManifest(t, "image", r.push(t, image, "image"))
		list := index(t, nil, image, r.image(t, nil))
		r.wantManifest(t, "list", r.push(t, list, "list"))
		r.wantNoBlob(t, absent)
	}},
}
