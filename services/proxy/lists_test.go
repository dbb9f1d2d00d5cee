package proxy_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/services/internal/fronttest"
	"github.com/berth-registry/berth/tools/testserver"
)

// pages follows the Link headers of a list to its end. No page has more than n
// entries.
func pages[T any](w *world, path string, n int, entries func(body []byte) []T) []T {
	w.t.Helper()
	var all []T
	for range 1000 {
		a := w.get(path)
		if a.Status != http.StatusOK {
			w.t.Fatalf("GET %s: %d %s", path, a.Status, a.Body)
		}
		page := entries([]byte(a.Body))
		if len(page) > n {
			w.t.Fatalf("GET %s: %d entries, want %d at most", path, len(page), n)
		}
		all = append(all, page...)
		link := a.Header.Get("Link")
		if link == "" {
			return all
		}
		next, rel, ok := strings.Cut(strings.TrimPrefix(link, "<"), ">")
		if !ok || rel != `; rel="next"` {
			w.t.Fatalf("Link %s", link)
		}
		path = next
	}
	w.t.Fatal("a list without end")
	return nil
}

func tagsIn(body []byte) []string {
	var list struct{ Tags []string }
	if json.Unmarshal(body, &list) != nil {
		return nil
	}
	return list.Tags
}

// tags lists by pages of n.
func (w *world) tags(path string, n int) []string {
	w.t.Helper()
	join := "?"
	if strings.Contains(path, "?") {
		join = "&"
	}
	return pages(w, fmt.Sprintf("%s%sn=%d", path, join, n), n, tagsIn)
}

func TestTags_AllMembersMerged(t *testing.T) {
	w := newWorld(t)
	up := testserver.StartScripted(t)
	w.upstream("hub", up.URL(), func(s *meta.UpstreamSettings) {
		s.AllowClaimed, s.HostAliases = []string{"library/*"}, []string{"hub.example"}
	})
	w.chain(meta.Member{Registry: "prod"}, meta.Member{Upstream: "hub"})
	img := ocitest.NewImage(80, 100)
	inDev, inProd, inHub := []string{"both", "dev-1", "Zulu"}, []string{"both", "prod-1"}, []string{"both", testserver.ScriptedTag, testserver.ScriptedSingleTag}
	for i := range 30 {
		inHub = append(inHub, fmt.Sprintf("v%d", i))
		inProd = append(inProd, fmt.Sprintf("v%d-rc", i), fmt.Sprintf("v%d", i/2))
	}
	for _, tag := range inDev {
		w.push(w.dev, testserver.ScriptedName, tag, img)
	}
	for _, tag := range inProd {
		w.push(w.prod, testserver.ScriptedName, tag, img)
	}
	up.Push(testserver.ScriptedName, img, inHub...)
	want := slices.Concat(inDev, inProd, inHub)
	slices.Sort(want)
	want = slices.Compact(want)
	slices.Sort(inHub)
	for _, n := range []int{1, 7, len(want) - 1, len(want), len(want) + 1, 1000} {
		if got := w.tags("/v2/"+testserver.ScriptedName+"/tags/list", n); !slices.Equal(got, want) {
			t.Errorf("by pages of %d:\n%v, want\n%v", n, got, want)
		}
	}
	for _, path := range []string{"/v2/" + testserver.ScriptedName + "/tags/list?ns=hub.example", "/v2/proxy/hub.example/" + testserver.ScriptedName + "/tags/list"} {
		if got := w.tags(path, 5); !slices.Equal(got, inHub) {
			t.Errorf("%s:\n%v, want\n%v", path, got, inHub)
		}
	}
	if got := w.get("/v2/" + testserver.ScriptedName + "/tags/list?n=3&last=both"); strings.Join(tagsIn([]byte(got.Body)), " ") != "dev-1 prod-1 single" {
		t.Errorf("after both: %s", got.Body)
	}
	if n := up.Count("", "*"); n != 1 {
		t.Errorf("the upstream was asked %d times for one list", n)
	}
	if a := w.get("/v2/library/none/tags/list"); a.Status != http.StatusNotFound || a.Code() != "NAME_UNKNOWN" {
		t.Errorf("missing content: %d %s", a.Status, a.Body)
	}
}

// TestE9_TagsOfClaimedNamesAreHosted has the upstream hold the same name.
func TestE9_TagsOfClaimedNamesAreHosted(t *testing.T) {
	w := newWorld(t)
	up := testserver.StartScripted(t)
	w.upstream("hub", up.URL(), nil)
	w.chain(meta.Member{Upstream: "hub"}, meta.Member{Registry: "prod"})
	img := ocitest.NewImage(81, 100)
	w.push(w.prod, testserver.ScriptedName, "mine", img)
	if got := w.tags("/v2/"+testserver.ScriptedName+"/tags/list", 10); !slices.Equal(got, []string{"mine"}) {
		t.Errorf("%v", got)
	}
	a := w.get("/v2/" + testserver.ScriptedName + "/referrers/" + img.Index.Digest.String())
	if n := up.Connections(); n != 0 || a.Status != http.StatusOK {
		t.Errorf("referrers: %d; the upstream saw %d requests", a.Status, n)
	}
}

// TestTags_InAnOutage answers what was listed less than an hour ago.
func TestTags_InAnOutage(t *testing.T) {
	w, up := newHub(t)
	path := "/v2/" + testserver.ScriptedName + "/tags/list"
	want := []string{testserver.ScriptedTag, testserver.ScriptedSingleTag}
	if got := w.tags(path, 10); !slices.Equal(got, want) {
		t.Fatal(got)
	}
	w.pass(tagTTL)
	up.Push(testserver.ScriptedName, up.Image, "2")
	if got := w.tags(path, 10); len(got) != 3 {
		t.Errorf("after tag_ttl: %v", got)
	}
	up.Script(testserver.FaultRefused)
	w.pass(50 * time.Minute)
	if got := w.tags(path, 10); len(got) != 3 {
		t.Errorf("in an outage: %v", got)
	}
	w.pass(15 * time.Minute)
	for _, path := range []string{path, "/v2/library/never-asked-for/tags/list"} {
		if a := w.get(path); a.Status != http.StatusBadGateway {
			t.Errorf("GET %s in an outage: %d %s", path, a.Status, a.Body)
		}
	}
}

func TestE13_AMillionTagsAreAnOutage(t *testing.T) {
	w, up := newHub(t)
	up.Script(testserver.FaultMillionTags)
	if a := w.get("/v2/" + testserver.ScriptedName + "/tags/list?n=10"); a.Status != http.StatusBadGateway {
		t.Errorf("%d, %d bytes", a.Status, len(a.Body))
	}
}

// referrer is a manifest about a subject.
func referrer(subject ocitest.Content, artifactType string, n int) ocitest.Content {
	about := ocitest.Extra{ArtifactType: artifactType, Subject: &subject.Descriptor, Annotations: map[string]string{"n": fmt.Sprint(n)}}
	return about.Manifest(ocitest.Empty(), ocitest.Empty())
}

func referrersIn(body []byte) []oci.Descriptor {
	var index struct{ Manifests []oci.Descriptor }
	if json.Unmarshal(body, &index) != nil {
		return nil
	}
	return index.Manifests
}

func TestReferrers_AllMembersMerged(t *testing.T) {
	w := newWorld(t)
	up := testserver.StartScripted(t)
	w.upstream("hub", up.URL(), func(s *meta.UpstreamSettings) { s.AllowClaimed = []string{"library/*"} })
	w.chain(meta.Member{Registry: "prod"}, meta.Member{Upstream: "hub"})
	w.push(w.prod, testserver.ScriptedName, testserver.ScriptedTag, up.Image) // the subject is hosted, too
	w.PutBlob(fronttest.Repo(w.prod, testserver.ScriptedName), []byte("{}"))
	byType := map[string][]string{}
	for i := range 12 {
		artifactType := []string{"application/x.sbom+json", "application/x.signature"}[i%2] // Q17: asked for as it is
		r := referrer(up.Image.Index, artifactType, i)
		if i%3 != 0 {
			up.PushManifest(testserver.ScriptedName, r)
		}
		if i%3 != 1 {
			w.PutManifest(fronttest.Repo(w.prod, testserver.ScriptedName), r.Bytes)
		}
		byType[artifactType] = append(byType[artifactType], r.Digest.String())
		byType[""] = append(byType[""], r.Digest.String())
	}
	path := "/v2/" + testserver.ScriptedName + "/referrers/" + up.Image.Index.Digest.String()
	for artifactType, want := range byType {
		slices.Sort(want)
		for _, n := range []int{1, 5, 100} {
			found := pages(w, fmt.Sprintf("%s?n=%d&artifactType=%s", path, n, artifactType), n, referrersIn)
			var got []string
			for _, d := range found {
				got = append(got, d.Digest.String())
				if artifactType != "" && d.ArtifactType != artifactType || d.Annotations["n"] == "" {
					t.Errorf("%+v in a list of %q", d, artifactType)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("of type %q, by pages of %d:\n%v, want\n%v", artifactType, n, got, want)
			}
		}
	}
	up.Script(testserver.FaultRefused)
	other := "/v2/" + testserver.ScriptedName + "/referrers/" + ocitest.NewImage(82, 10).Index.Digest.String()
	if a := w.get(other); a.Status != http.StatusBadGateway {
		t.Errorf("in an outage: %d", a.Status)
	}
	up.Script(testserver.FaultNone)
	if a := w.get(other); a.Status != http.StatusOK || len(referrersIn([]byte(a.Body))) != 0 {
		t.Errorf("of a subject that no one knows: %d %s", a.Status, a.Body)
	}
}

// TestReferrers_LargeOnes has the store end its pages early, since what it lists
// is large: nothing of what follows may be left out.
func TestReferrers_LargeOnes(t *testing.T) {
	w := newWorld(t)
	up := testserver.StartScripted(t)
	w.upstream("hub", up.URL(), func(s *meta.UpstreamSettings) { s.AllowClaimed = []string{"library/*"} })
	w.chain(meta.Member{Registry: "prod"}, meta.Member{Upstream: "hub"})
	w.push(w.prod, testserver.ScriptedName, testserver.ScriptedTag, up.Image)
	w.PutBlob(fronttest.Repo(w.prod, testserver.ScriptedName), []byte("{}"))
	w.PutBlob(fronttest.Repo(w.dev, testserver.ScriptedName), []byte("{}"))
	var want []string
	for i := range 18 {
		r := referrer(up.Image.Index, "application/x.sbom", i)
		switch i % 3 {
		case 0:
			up.PushManifest(testserver.ScriptedName, r)
		case 1:
			r = ocitest.New(r.MediaType, slices.Concat(r.Bytes, bytes.Repeat([]byte(" "), meta.MaxReferrerBytes/2)))
			w.PutManifest(fronttest.Repo(w.prod, testserver.ScriptedName), r.Bytes)
		default:
			r = ocitest.New(r.MediaType, slices.Concat(r.Bytes, bytes.Repeat([]byte(" "), meta.MaxReferrerBytes/4)))
			w.PutManifest(fronttest.Repo(w.dev, testserver.ScriptedName), r.Bytes)
		}
		want = append(want, r.Digest.String())
	}
	slices.Sort(want)
	path := "/v2/" + testserver.ScriptedName + "/referrers/" + up.Image.Index.Digest.String()
	for _, n := range []int{1, 4, 1000} {
		var got []string
		for _, d := range pages(w, fmt.Sprintf("%s?n=%d", path, n), n, referrersIn) {
			got = append(got, d.Digest.String())
		}
		if !slices.Equal(got, want) {
			t.Errorf("by pages of %d: %d of %d, or in another order:\n%v", n, len(got), len(want), got)
		}
	}
}

// TestReferrers_FirstMemberWins has an upstream say something else of what the
// registry hosts.
func TestReferrers_FirstMemberWins(t *testing.T) {
	w := newWorld(t)
	subject := ocitest.NewImage(83, 10).Index
	var lies []ocitest.Content
	w.PutBlob(fronttest.Repo(w.dev, "library/app"), []byte("{}"))
	for i := range 40 {
		r := referrer(subject, "application/x.truth", i)
		w.PutManifest(fronttest.Repo(w.dev, "library/app"), r.Bytes)
		r.ArtifactType = "application/x.lie"
		lies = append(lies, r)
	}
	index := ocitest.Index(lies...)
	liar := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", oci.MediaTypeImageIndex)
		_, _ = rw.Write(index.Bytes)
	}))
	t.Cleanup(liar.Close)
	w.upstream("hub", liar.URL, func(s *meta.UpstreamSettings) { s.AllowClaimed = []string{"library/*"} })
	w.chain(meta.Member{Upstream: "hub"})
	found := pages(w, "/v2/library/app/referrers/"+subject.Digest.String()+"?n=1000", 1000, referrersIn)
	for _, d := range found {
		if d.ArtifactType != "application/x.truth" {
			t.Errorf("%s is listed as %s", d.Digest, d.ArtifactType)
		}
	}
	if len(found) != len(lies) {
		t.Errorf("%d referrers, want %d", len(found), len(lies))
	}
}
