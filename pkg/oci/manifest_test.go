package oci_test

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/oci"
)

const (
	digestA = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	digestB = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

	config = `{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"` + digestA + `","size":7}`
	layer  = `{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"` + digestB + `","size":8}`
	child  = `{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"` + digestA + `","size":9,` +
		`"platform":{"architecture":"arm64","os":"linux","os.version":"1","os.features":["x"],"variant":"v8","features":["sse4"]}}`

	image = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",` +
		`"config":` + config + `,"layers":[` + layer + `,` + layer + `],"annotations":{"Layers":"not a member"},"custom":[{"Digest":1}]}`
	index = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[` + child + `]}`

	dockerImage = `{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json",` +
		`"config":` + config + `,"layers":[` + layer + `]}`
	dockerList = `{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.list.v2+json","manifests":[` + child + `]}`

	artifact = `{"mediaType":"application/vnd.oci.artifact.manifest.v1+json","artifactType":"application/example",` +
		`"blobs":[` + layer + `],"subject":` + child + `}`
)

func TestParseManifestKinds(t *testing.T) {
	configDesc := oci.Descriptor{MediaType: "application/vnd.oci.image.config.v1+json", Digest: digestA, Size: 7}
	layerDesc := oci.Descriptor{MediaType: "application/vnd.oci.image.layer.v1.tar+gzip", Digest: digestB, Size: 8}
	childDesc := oci.Descriptor{MediaType: oci.MediaTypeImageManifest, Digest: digestA, Size: 9}
	for _, test := range []struct {
		payload string
		want    oci.Manifest
	}{
		{image, oci.Manifest{
			MediaType: oci.MediaTypeImageManifest, Config: &configDesc, Blobs: []oci.Descriptor{configDesc, layerDesc, layerDesc},
			Annotations: map[string]string{"Layers": "not a member"},
		}},
		{index, oci.Manifest{MediaType: oci.MediaTypeImageIndex, Children: []oci.Descriptor{childDesc}}},
		{dockerImage, oci.Manifest{MediaType: oci.MediaTypeDocker, Config: &configDesc, Blobs: []oci.Descriptor{configDesc, layerDesc}}},
		{dockerList, oci.Manifest{MediaType: oci.MediaTypeDockerList, Children: []oci.Descriptor{childDesc}}},
		{artifact, oci.Manifest{
			MediaType: oci.MediaTypeArtifact, ArtifactType: "application/example", Blobs: []oci.Descriptor{layerDesc}, Subject: &childDesc,
		}},
	} {
		for _, contentType := range []string{"", test.want.MediaType, test.want.MediaType + "; charset=utf-8", " " + strings.ToUpper(test.want.MediaType) + ";"} {
			got, err := oci.ParseManifest(contentType, []byte(test.payload))
			if err != nil {
				t.Errorf("ParseManifest(%q, %s): %v", contentType, test.payload, err)
			} else if !reflect.DeepEqual(*got, test.want) {
				t.Errorf("ParseManifest(%q) = %+v, want %+v", contentType, *got, test.want)
			}
		}
	}
}

// TestIndexOfBlobs: BuildKit exports a cache as an index whose entries are
// layers. They are blobs for everyone, so garbage collection must see them so.
func TestIndexOfBlobs(t *testing.T) {
	cache := strings.Replace(index, child, child+","+layer, 1)
	m := parseManifest(t, cache)
	if len(m.Children) != 1 || m.Children[0].Digest != digestA || len(m.Blobs) != 1 || m.Blobs[0].Digest != digestB {
		t.Errorf("children %v, blobs %v", m.Children, m.Blobs)
	}
}

// TestManifestTypeFromContentType: an image manifest need not name its type.
func TestManifestTypeFromContentType(t *testing.T) {
	untyped := `{"schemaVersion":2,"config":` + config + `,"layers":[]}`
	m, err := oci.ParseManifest(oci.MediaTypeImageManifest, []byte(untyped))
	if err != nil || m.MediaType != oci.MediaTypeImageManifest {
		t.Fatalf("with Content-Type: %+v, %v", m, err)
	}
	refuseManifest(t, "", untyped)
}

func TestReferrerType(t *testing.T) {
	withType := strings.Replace(image, `"custom"`, `"artifactType":"application/example","custom"`, 1)
	for payload, want := range map[string]string{
		image:    "application/vnd.oci.image.config.v1+json",
		withType: "application/example",
		index:    "",
		artifact: "application/example",
	} {
		if got := parseManifest(t, payload).ReferrerType(); got != want {
			t.Errorf("ReferrerType = %q, want %q, of %s", got, want, payload)
		}
	}
}

// TestReferrerType_CanBeStored: stores look referrers up by it.
func TestReferrerType_CanBeStored(t *testing.T) {
	typed := func(artifactType string) string {
		return strings.Replace(image, `"custom"`, `"artifactType":"`+artifactType+`","custom"`, 1)
	}
	parseManifest(t, typed(strings.Repeat("a", 255)))
	refuseManifest(t, oci.MediaTypeImageManifest, typed(strings.Repeat("a", 256)))
	refuseManifest(t, oci.MediaTypeImageManifest, typed(`a\u0000b`))
	refuseManifest(t, oci.MediaTypeImageManifest, strings.Replace(image, "application/vnd.oci.image.config.v1+json", strings.Repeat("a", 256), 1))
}

// TestD1_AmbiguousManifests: a document has one kind, which all agree on.
func TestD1_AmbiguousManifests(t *testing.T) {
	add := func(payload, members string) string { return payload[:len(payload)-1] + "," + members + "}" }
	foreignMembers := map[string][]string{
		image:       {`"manifests":[` + child + `]`, `"manifests":[]`, `"blobs":[` + layer + `]`, `"blobs":[]`, `"fsLayers":[]`, `"fsLayers":[{"blobSum":"` + digestA + `"}]`},
		dockerImage: {`"manifests":[` + child + `]`, `"manifests":[]`, `"blobs":[` + layer + `]`, `"blobs":[]`, `"fsLayers":[]`},
		index:       {`"config":` + config, `"layers":[` + layer + `]`, `"layers":[]`, `"blobs":[]`, `"fsLayers":[]`, `"config":` + config + `,"layers":[` + layer + `]`},
		dockerList:  {`"config":` + config, `"layers":[` + layer + `]`, `"layers":[]`, `"blobs":[]`, `"fsLayers":[]`},
		artifact:    {`"config":` + config, `"layers":[` + layer + `]`, `"layers":[]`, `"manifests":[]`, `"manifests":[` + child + `]`, `"fsLayers":[]`},
	}
	for payload, members := range foreignMembers {
		for _, m := range members {
			refuseManifest(t, "", add(payload, m))
		}
	}
	types := map[string]string{
		oci.MediaTypeImageManifest: image, oci.MediaTypeImageIndex: index, oci.MediaTypeDocker: dockerImage,
		oci.MediaTypeDockerList: dockerList, oci.MediaTypeArtifact: artifact,
	}
	for contentType := range types {
		for own, payload := range types {
			if own != contentType {
				refuseManifest(t, contentType, payload)
			}
		}
	}
	for _, contentType := range []string{"application/json", "application/octet-stream", "text/html", "*/*", ";", "application/vnd.oci.image.manifest.v2+json"} {
		refuseManifest(t, contentType, `{"schemaVersion":2,"config":`+config+`,"layers":[]}`)
		if contentType != ";" { // names no type, so the document's own counts
			refuseManifest(t, contentType, image)
		}
	}
	for _, payload := range []string{
		strings.Replace(image, "image.manifest.v1", "Image.Manifest.v1", 1),
		strings.Replace(image, `"schemaVersion":2`, `"schemaVersion":1`, 1),
		strings.Replace(image, `"schemaVersion":2`, `"schemaVersion":3`, 1),
		strings.Replace(image, `"schemaVersion":2,`, ``, 1),
		strings.Replace(image, `"config":`+config+`,`, ``, 1),
		strings.Replace(artifact, `"mediaType":"application/vnd.oci.artifact.manifest.v1+json",`, ``, 1),
	} {
		refuseManifest(t, "", payload)
	}
	refuseManifest(t, oci.MediaTypeArtifact, "null")
}

func TestSchema1IsRefusedClearly(t *testing.T) {
	schema1 := `{"schemaVersion":1,"name":"a","tag":"b","fsLayers":[{"blobSum":"` + digestA + `"}],"history":[]}`
	for _, contentType := range []string{
		"application/vnd.docker.distribution.manifest.v1+json", "application/vnd.docker.distribution.manifest.v1+prettyjws",
	} {
		if err := refuseManifest(t, contentType, schema1); !strings.Contains(err.Message, "schema 1") {
			t.Errorf("the refusal does not speak of schema 1: %v", err)
		}
	}
}

// TestManifestErrorsSayWhere: someone has to find it among thousands.
func TestManifestErrorsSayWhere(t *testing.T) {
	for payload, where := range map[string]string{
		strings.Replace(image, digestB, "sha256:bad", 1):           "/layers/0",
		strings.Replace(image, `"size":7`, `"size":"7"`, 1):        "/config/size",
		strings.Replace(image, `"size":7`, `"size":7,"size":8`, 1): "/config/size",
		strings.Replace(index, `"os":"linux"`, `"os":5`, 1):        "/manifests/0/platform/os",
		image[:100]: "byte 100",
	} {
		if err := refuseManifest(t, "", payload); !strings.Contains(err.Message, where) {
			t.Errorf("error %q does not say %s", err.Message, where)
		}
	}
}

// TestD4_ManifestLimits: at each limit a manifest is taken, one beyond it is not.
func TestD4_ManifestLimits(t *testing.T) {
	withLayers := func(n int) string {
		list := strings.TrimSuffix(strings.Repeat(layer+",", n), ",")
		return `{"schemaVersion":2,"mediaType":"` + oci.MediaTypeImageManifest + `","config":` + config + `,"layers":[` + list + `]}`
	}
	withSize := func(n int) string { return image + strings.Repeat(" ", n-len(image)) }
	withDepth := func(n int) string { // the document itself is one level
		return strings.Replace(image, `"custom":`, `"deep":`+strings.Repeat("[", n-1)+strings.Repeat("]", n-1)+`,"custom":`, 1)
	}
	for _, test := range []struct {
		name string
		make func(int) string
		most int
		kind fault.Kind
	}{
		{"bytes", withSize, oci.MaxManifest, fault.TooLarge},
		{"descriptors", withLayers, oci.MaxDescriptors, fault.TooLarge},
		{"depth", withDepth, 32, fault.Invalid},
	} {
		if _, err := oci.ParseManifest("", []byte(test.make(test.most))); err != nil {
			t.Errorf("%d %s: %v", test.most, test.name, err)
		}
		if err := refuseManifest(t, "", test.make(test.most+1)); err.Kind != test.kind {
			t.Errorf("%d %s: kind %d, want %d: %v", test.most+1, test.name, err.Kind, test.kind, err)
		}
	}
	for _, many := range []string{`"":0,`, `"a":[` + strings.Repeat("0,", 199_999) + `0],`} {
		if err := refuseManifest(t, "", "{"+strings.Repeat(many, 200_000/strings.Count(many, ","))+image[1:]); err.Kind != fault.TooLarge {
			t.Errorf("200,000 values: %v", err)
		}
	}
	refuseManifest(t, "", strings.Repeat("[", oci.MaxManifest))
	refuseManifest(t, "", strings.Repeat(`{"a":`, oci.MaxManifest/5))
}

// TestD4_HostileManifestsAllocateLittle: the worst document costs a bounded
// multiple of what it weighs.
func TestD4_HostileManifestsAllocateLittle(t *testing.T) {
	const most = 16 * oci.MaxManifest
	fill := func(head, unit, tail string, limit int) string {
		n := min((oci.MaxManifest-len(head)-len(tail))/(len(unit)+1), limit)
		return head + strings.TrimSuffix(strings.Repeat(unit+",", n), ",") + tail
	}
	var names strings.Builder
	for i := range 140_000 {
		fmt.Fprintf(&names, `"%x":"",`, i)
	}
	open := image[:len(image)-1]
	for name, payload := range map[string]string{
		"empty descriptors":  fill(`{"layers":[`, `{}`, `]}`, 140_000),
		"null descriptors":   fill(`{"layers":[`, `null`, `]}`, 140_000),
		"40,000 descriptors": fill(`{"layers":[`, layer, `]}`, 40_000),
		"urls":               fill(open+`,"subject":`+layer[:len(layer)-1]+`,"urls":[`, `""`, `]}}`, 140_000),
		"too many urls":      fill(open+`,"subject":`+layer[:len(layer)-1]+`,"urls":[`, `""`, `]}}`, oci.MaxManifest),
		"annotations":        strings.Replace(image, `"annotations":{`, `"annotations":{`+names.String(), 1),
		"unknown members":    `{` + names.String() + image[1:],
	} {
		content := []byte(payload)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := oci.ParseManifest("", content)
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used > most {
			t.Errorf("%s: %d bytes allocated for %d, more than %d (%v)", name, used, len(payload), most, err)
		} else {
			t.Logf("%s: %d bytes allocated for %d (%v)", name, used, len(payload), err)
		}
	}
}

// TestD6_ForeignLayers: what a registry need not hold is known by its
// descriptor alone.
func TestD6_ForeignLayers(t *testing.T) {
	foreign := strings.Replace(image, `"size":8`, `"size":8,"urls":["http://127.0.0.1:1/layer"]`, 1)
	m := parseManifest(t, foreign)
	if got := []bool{m.Blobs[0].Foreign(), m.Blobs[1].Foreign(), m.Blobs[2].Foreign()}; !reflect.DeepEqual(got, []bool{false, true, false}) {
		t.Errorf("Foreign = %v", got)
	}
	for _, mediaType := range []string{
		"application/vnd.oci.image.layer.nondistributable.v1.tar", "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
		"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
	} {
		if !(oci.Descriptor{MediaType: mediaType}).Foreign() {
			t.Errorf("%s is not foreign", mediaType)
		}
	}
}

func parseManifest(t *testing.T, payload string) *oci.Manifest {
	t.Helper()
	m, err := oci.ParseManifest("", []byte(payload))
	if err != nil {
		t.Fatalf("ParseManifest(%.300s): %v", payload, err)
	}
	return m
}

// refuseManifest wants MANIFEST_INVALID with a message that fits in a log line.
func refuseManifest(t *testing.T, contentType, payload string) *fault.Error {
	t.Helper()
	before := []byte(payload)
	m, err := oci.ParseManifest(contentType, before)
	if !bytes.Equal(before, []byte(payload)) {
		t.Fatal("ParseManifest changed the payload")
	}
	var f *fault.Error
	if !errors.As(err, &f) || f.Reason != fault.ManifestInvalid || f.Kind != fault.Invalid && f.Kind != fault.TooLarge {
		t.Fatalf("ParseManifest(%q, %.300s) = %+v, %v; want MANIFEST_INVALID", contentType, payload, m, err)
	}
	if len(f.Message) > 1024 {
		t.Errorf("the message has %d characters", len(f.Message))
	}
	return f
}

func BenchmarkParseManifest(b *testing.B) {
	layers := strings.TrimSuffix(strings.Repeat(layer+",", 12), ",")
	payload := []byte(`{"schemaVersion":2,"config":` + config + `,"layers":[` + layers + `]}`)
	b.SetBytes(int64(len(payload)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := oci.ParseManifest(oci.MediaTypeImageManifest, payload); err != nil {
			b.Fatal(err)
		}
	}
}

func ExampleParseManifest() {
	m, err := oci.ParseManifest("application/vnd.oci.image.manifest.v1+json", []byte(`{
		"schemaVersion": 2,
		"config": {
			"mediaType": "application/vnd.oci.image.config.v1+json",
			"digest": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
			"size": 2
		},
		"layers": []
	}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, d := range m.Blobs {
		fmt.Println(d.MediaType, d.Digest.Hex()[:12], d.Size)
	}

	_, err = oci.ParseManifest("application/vnd.oci.image.index.v1+json", []byte(`{"schemaVersion": 2, "layers": []}`))
	fmt.Println(err)
	// Output:
	// application/vnd.oci.image.config.v1+json 44136fa355b3 2
	// MANIFEST_INVALID: the manifest is ambiguous: it has members of another kind than "application/vnd.oci.image.index.v1+json"
}
