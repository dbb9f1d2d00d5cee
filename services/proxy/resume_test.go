package proxy_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/berth-registry/berth/services/internal/fronttest"
	"github.com/berth-registry/berth/tools/testserver"
)

// cutHub is a world whose upstream cuts blobs; the manifests of its image are cached.
func cutHub(t *testing.T, after int64) (*world, *testserver.Scripted, request) {
	t.Helper()
	w, up := newHub(t)
	requests := requestsOf(testserver.ScriptedName, testserver.ScriptedTag, up.Image)
	for _, r := range requests[:2] {
		if status, ok := w.fetch(r.path, r.want); !ok {
			t.Fatalf("GET %s: %d", r.path, status)
		}
	}
	up.CutBlobs(after, 0)
	return w, up, requests[len(requests)-1]
}

// offsets are where requests for blobs began, in order: "" for a whole one.
func offsets(d *testserver.Door) string {
	var all []string
	for _, r := range d.Requests() {
		if r.Method == http.MethodGet && strings.Contains(r.Path, "sha256:") && !strings.Contains(r.Path, "/manifests/") {
			all = append(all, strings.TrimSuffix(strings.TrimPrefix(r.Header.Get("Range"), "bytes="), "-"))
		}
	}
	return strings.Join(all, ",")
}

// TestT20_ACutBlobContinues: each byte is asked for once, through the registry, whose
// redirects are new each time.
func TestT20_ACutBlobContinues(t *testing.T) {
	for _, redirected := range []bool{false, true} {
		w, up, layer := cutHub(t, 60_000)
		if redirected {
			up.RedirectBlobs(up.CDN.URL())
		}
		if status, ok := w.fetch(layer.path, layer.want); !ok {
			t.Fatalf("%d", status)
		}
		const want = ",60000,120000,180000"
		if got := offsets(up.Door); got != want {
			t.Errorf("the registry was asked from %q, want %q", got, want)
		}
		if got := offsets(up.CDN); redirected && got != want {
			t.Errorf("the CDN was asked from %q, want %q", got, want)
		}
		for _, d := range []*testserver.Door{up.Door, up.CDN} {
			for _, r := range d.Requests() {
				if r.Header.Get("Accept-Encoding") != "identity" {
					t.Errorf("%s: Accept-Encoding %q", r.Path, r.Header.Get("Accept-Encoding"))
				}
			}
		}
	}
}

// TestT20_ARangeOfACutBlob is what a client asked for.
func TestT20_ARangeOfACutBlob(t *testing.T) {
	size := len(testserver.StartScripted(t).Image.Layers[1].Bytes)
	for header, of := range map[string][2]int{
		"bytes=100-199":         {100, 200},
		"bytes=70000-130000":    {70_000, 130_001},
		"bytes=90000-":          {90_000, size},
		"bytes=-70000":          {size - 70_000, size},
		"bytes=0-199999":        {0, 200_000},
		"bytes=200000-":         {200_000, size},
		"bytes=150000-99999999": {150_000, size},
	} {
		w, up, layer := cutHub(t, 60_000)
		a := w.Do(fronttest.Request{Host: w.dev.Host, Path: layer.path, Header: fronttest.Headers("Range", header)})
		if a.Status != http.StatusPartialContent || a.Body != string(layer.want.Bytes[of[0]:of[1]]) {
			t.Errorf("%s: %d, %d bytes", header, a.Status, len(a.Body))
		}
		if got, want := offsets(up.Door), ",60000,120000,180000"; got != want {
			t.Errorf("%s: the upstream was asked from %q, want %q", header, got, want)
		}
	}
}

// TestT22_AnswersToARange that are not the requested part: the blob comes from its first
// byte once more, or what the client has is skipped.
func TestT22_AnswersToARange(t *testing.T) {
	for fault, want := range map[testserver.Fault]string{
		testserver.FaultRangeIgnored: ",150000",
		testserver.FaultRange416:     ",150000,",
		testserver.FaultRange403:     ",150000,",
		testserver.FaultRangeStart:   ",150000,",
		testserver.FaultRangeTotal:   ",150000,",
		testserver.FaultRangeBare:    ",150000,",
		testserver.FaultRangeGzip:    ",150000,",
		testserver.FaultRangeETag:    ",150000,",
	} {
		for _, redirected := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, redirected %v", fault, redirected), func(t *testing.T) {
				w, up, layer := cutHub(t, 150_000)
				if redirected {
					up.RedirectBlobs(up.CDN.URL())
				}
				up.Script(fault)
				up.CutBlobs(150_000, 1)
				if status, ok := w.fetch(layer.path, layer.want); !ok {
					t.Errorf("%d", status)
				}
				if got := offsets(up.Door); got != want {
					t.Errorf("asked from %q, want %q", got, want)
				}
			})
		}
	}
}

// TestT24_LeftAloneAMoment: the upstream refuses for a while when it is asked for the rest.
func TestT24_LeftAloneAMoment(t *testing.T) {
	for _, c := range []struct {
		fault testserver.Fault
		times int
		want  string
	}{
		{testserver.FaultRange503, 2, ",150000,150000,150000"},
		{testserver.FaultRange429, 1, ",150000,150000"},
	} {
		w, up, layer := cutHub(t, 150_000)
		up.Play(testserver.Script{Fault: c.fault, Times: c.times})
		if status, ok := w.fetch(layer.path, layer.want); !ok {
			t.Errorf("%s: %d", c.fault, status)
		}
		if got := offsets(up.Door); got != c.want {
			t.Errorf("%s: asked from %q, want %q", c.fault, got, c.want)
		}
	}
}
