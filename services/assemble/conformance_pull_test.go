package assemble_test

import (
	"bytes"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"

	imagespec "github.com/opencontainers/image-spec/specs-go/v1"
)

var pullManifestRequirements = []requirement{
	{"Pulling manifests", must, "by tag and by digest: 200, the bytes, their digest and length", func(t *testing.T, r repository) {
		m := r.push(t, r.image(t, nil), "latest")
		r.wantManifest(t, "latest", m)
		r.wantManifest(t, m.Digest.String(), m)
	}},
	{"Pulling manifests", must, "a tag has up to 128 characters of its alphabet", func(t *testing.T, r repository) {
		m := r.image(t, nil)
		for _, tag := range []string{"a", "_", "0", "A.b_c-D", strings.Repeat("Z", 128)} {
			r.push(t, m, tag)
			r.wantManifest(t, tag, m)
		}
	}},
	{"Pulling manifests", must, "404 for a tag and a digest that are not there", func(t *testing.T, r repository) {
		r.push(t, r.image(t, nil), "latest")
		for _, reference := range []string{"other", "Latest", absent.String()} {
			r.wantNoManifest(t, reference)
			r.get(t, r.at("manifests/%s", reference)).wantCode(t, "MANIFEST_UNKNOWN")
		}
	}},
	{"Pulling manifests", must, "404 for a repository that is not there", func(t *testing.T, r repository) {
		for _, reference := range []string{"latest", absent.String()} {
			r.wantNoManifest(t, reference)
			r.get(t, r.at("manifests/%s", reference)).wantCode(t, "NAME_UNKNOWN", "MANIFEST_UNKNOWN")
		}
	}},
	{"Pulling manifests", must, "a reference that is neither tag nor digest is refused", func(t *testing.T, r repository) {
		r.push(t, r.image(t, nil), "latest")
		for _, reference := range []string{"-a", ".a", "a+b", strings.Repeat("a", 129), "sha256:baddigeststring", "sha256:", "md5:d41d8cd98f00b204e9800998ecf8427e"} {
			r.get(t, r.at("manifests/%s", reference)).want(t, http.StatusBadRequest, http.StatusNotFound).wantCode(t, "MANIFEST_INVALID", "DIGEST_INVALID", "MANIFEST_UNKNOWN")
		}
	}},
	{"Pulling manifests", must, "a digest of another repository is not found in this one", func(t *testing.T, r repository) {
		m := r.push(t, r.image(t, nil), "latest")
		other := r.sibling("other")
		other.push(t, other.image(t, nil), "elsewhere")
		other.wantNoManifest(t, m.Digest.String())
		other.wantNoManifest(t, "latest")
	}},
	{"Pulling manifests", should, "Content-Type is that of the push, without parameters, whatever is accepted", func(t *testing.T, r repository) {
		m := r.image(t, nil)
		r.send(t, request{
			method: http.MethodPut, target: r.at("manifests/latest"),
			header: headers("Content-Type", m.MediaType+"; charset=utf-8"), body: m.payload,
		}).want(t, http.StatusCreated)
		for _, accept := range []string{"", "*/*", typeImage, typeIndex + ", " + typeDocker, "text/html"} {
			r.get(t, r.at("manifests/latest"), "Accept", accept).want(t, http.StatusOK).wantHeader(t, "Content-Type", typeImage)
		}
	}},
	{"Pulling manifests", must, "odd but valid JSON is served byte for byte", func(t *testing.T, r repository) {
		plain := r.image(t, nil)
		for _, payload := range [][]byte{
			append([]byte("\n\t "), append(plain.payload, "\r\n\n"...)...),
			bytes.ReplaceAll(plain.payload, []byte(`,`), []byte(" ,\n\t")),
			bytes.Replace(plain.payload, []byte(`{`), []byte(`{"org.example.ünïcode":"\u00fc\/ \ud83d\ude00",`), 1),
		} {
			m := manifest{describe(typeImage, payload), payload}
			r.push(t, m, "odd")
			r.wantManifest(t, "odd", m)
		}
	}},
	{"Pulling manifests", should, "If-None-Match with the ETag is 304 (RFC 9110)", func(t *testing.T, r repository) {
		m := r.push(t, r.image(t, nil), "latest")
		for _, reference := range []string{"latest", m.Digest.String()} {
			target := r.at("manifests/%s", reference)
			etag := r.get(t, target).want(t, http.StatusOK).header.Get("ETag")
			for _, match := range []string{etag, `"other", ` + etag, "*"} {
				r.get(t, target, "If-None-Match", match).want(t, http.StatusNotModified).wantBody(t, nil)
				r.head(t, target, "If-None-Match", match).want(t, http.StatusNotModified)
			}
			r.get(t, target, "If-None-Match", `"other"`).want(t, http.StatusOK).wantBody(t, m.payload)
		}
	}},
}

var pullBlobRequirements = []requirement{
	{"Pulling blobs", must, "200, the bytes, their digest and length", func(t *testing.T, r repository) {
		for _, size := range []int{1, 511, 1 << 20} {
			d, content := r.blob(t, size)
			r.wantBlob(t, d.Digest, content)
		}
	}},
	{"Pulling blobs", must, "404 for a blob that is not there", func(t *testing.T, r repository) {
		r.wantNoBlob(t, absent) // no such repository
		r.blob(t, 1)
		r.wantNoBlob(t, absent)
		r.get(t, r.at("blobs/%s", absent)).wantCode(t, "BLOB_UNKNOWN")
	}},
	{"Pulling blobs", must, "a blob of another repository is not found in this one", func(t *testing.T, r repository) {
		d, _ := r.blob(t, 100)
		other := r.sibling("other")
		other.blob(t, 100)
		other.wantNoBlob(t, d.Digest)
	}},
	{"Pulling blobs", ours, "a malformed digest is refused", func(t *testing.T, r repository) {
		r.blob(t, 1)
		for _, d := range []string{"sha256:abc", "sha256:" + strings.Repeat("A", 64), "sha1:" + strings.Repeat("0", 40), "latest"} {
			r.get(t, r.at("blobs/%s", d)).want(t, http.StatusBadRequest, http.StatusNotFound).wantCode(t, "DIGEST_INVALID")
		}
	}},
	{"Pulling blobs", should, "Range: one range is 206 with its bytes", func(t *testing.T, r repository) {
		d, content := r.blob(t, 2048)
		for ask, span := range map[string][2]int{
			"bytes=0-0": {0, 0}, "bytes=500-1499": {500, 1499}, "bytes=500-": {500, 2047},
			"bytes=-500": {1548, 2047}, "bytes=2000-5000": {2000, 2047}, "bytes=-5000": {0, 2047},
		} {
			a := r.get(t, r.at("blobs/%s", d.Digest), "Range", ask).want(t, http.StatusPartialContent)
			a.wantBody(t, content[span[0]:span[1]+1])
			a.wantHeader(t, "Content-Range", fmt.Sprintf("bytes %d-%d/2048", span[0], span[1]))
			a.wantHeader(t, "Content-Length", fmt.Sprint(span[1]-span[0]+1))
			a.wantHeader(t, "Docker-Content-Digest", d.Digest.String())
		}
	}},
	{"Pulling blobs", should, "Range: several ranges are multipart/byteranges", func(t *testing.T, r repository) {
		d, content := r.blob(t, 2048)
		a := r.get(t, r.at("blobs/%s", d.Digest), "Range", "bytes=0-9,1000-1099,-1").want(t, http.StatusPartialContent)
		mediaType, params, err := mime.ParseMediaType(a.header.Get("Content-Type"))
		if err != nil || mediaType != "multipart/byteranges" {
			t.Fatalf("got Content-Type %q, want multipart/byteranges", a.header.Get("Content-Type"))
		}
		parts := multipart.NewReader(bytes.NewReader(a.body), params["boundary"])
		for _, span := range [][2]int{{0, 9}, {1000, 1099}, {2047, 2047}} {
			part, err := parts.NextPart()
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(part)
			if err != nil || !bytes.Equal(got, content[span[0]:span[1]+1]) {
				t.Errorf("part %v: got %d bytes (%v)", span, len(got), err)
			}
			if want := fmt.Sprintf("bytes %d-%d/2048", span[0], span[1]); part.Header.Get("Content-Range") != want {
				t.Errorf("got Content-Range %q, want %q", part.Header.Get("Content-Range"), want)
			}
		}
	}},
	{"Pulling blobs", should, "Range: 416 for one that cannot be", func(t *testing.T, r repository) {
		d, _ := r.blob(t, 2048)
		for _, ask := range []string{"bytes=5000-10000", "bytes=2048-", "bytes=9999-"} {
			r.get(t, r.at("blobs/%s", d.Digest), "Range", ask).want(t, http.StatusRequestedRangeNotSatisfiable)
		}
	}},
	{"Pulling blobs", should, "Range: bytes are offered, and If-Range decides", func(t *testing.T, r repository) {
		d, content := r.blob(t, 2048)
		target := r.at("blobs/%s", d.Digest)
		etag := r.get(t, target).wantHeader(t, "Accept-Ranges", "bytes").header.Get("ETag")
		r.head(t, target).wantHeader(t, "Accept-Ranges", "bytes")
		r.get(t, target, "Range", "bytes=10-19", "If-Range", etag).want(t, http.StatusPartialContent).wantBody(t, content[10:20])
		r.get(t, target, "Range", "bytes=10-19", "If-Range", `"other"`).want(t, http.StatusOK).wantBody(t, content)
	}},
	{"Pulling blobs", should, "If-None-Match with the ETag is 304 (RFC 9110)", func(t *testing.T, r repository) {
		d, _ := r.blob(t, 100)
		target := r.at("blobs/%s", d.Digest)
		etag := r.get(t, target).want(t, http.StatusOK).header.Get("ETag")
		r.get(t, target, "If-None-Match", etag).want(t, http.StatusNotModified).wantBody(t, nil)
	}},
	{"Pulling blobs", ours, "a blob is served as bytes, whatever its manifest calls it", func(t *testing.T, r repository) {
		page := r.blobOf(t, "text/html", []byte("<script>alert(1)</script>"))
		r.push(t, r.image(t, func(doc *imagespec.Manifest) { doc.Layers = append(doc.Layers, page) }), "page")
		r.get(t, r.at("blobs/%s", page.Digest)).want(t, http.StatusOK).wantHeader(t, "Content-Type", typeBytes)
	}},
}
