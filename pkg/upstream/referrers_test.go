package upstream

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
)

// indexOf is an index of n signatures.
func indexOf(n int) string {
	signature := ocitest.New(oci.MediaTypeImageManifest, image())
	signature.ArtifactType, signature.Annotations = "application/vnd.example.signature", map[string]string{"k": "v"}
	return string(ocitest.Index(slices.Repeat([]ocitest.Content{signature}, n)...).Bytes)
}

func sendIndex(w http.ResponseWriter, body string) {
	w.Header().Set("Content-Type", oci.MediaTypeImageIndex)
	fmt.Fprint(w, body)
}

func TestReferrers(t *testing.T) {
	subject := oci.DigestOf(oci.SHA256, []byte("subject"))
	c := serve(t, patient(), func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v2/a/b/referrers/"+subject.String() {
			t.Errorf("asked %s", r.URL)
		}
		if r.URL.RawQuery == "" {
			w.Header().Set("Link", "<"+r.URL.Path+`?page=2>; rel="next"`)
		}
		sendIndex(w, indexOf(2))
	})
	list, err := c.Referrers(t.Context(), "a/b", subject, 4)
	if err != nil || len(list) != 4 {
		t.Fatalf("%v, %v", list, err)
	}
	if r := list[3]; r.Digest != oci.DigestOf(oci.SHA256, image()) || r.Size != int64(len(image())) || r.MediaType != oci.MediaTypeImageManifest ||
		r.ArtifactType != "application/vnd.example.signature" || r.Annotations["k"] != "v" {
		t.Errorf("%+v", r)
	}
	if _, err := c.Referrers(t.Context(), "a/b", subject, 3); OutcomeOf(err) != Outage {
		t.Errorf("more than the limit: %v", err)
	}
}

// TestReferrers_Unavailable: the ways in which registries do not have the API,
// and what they have under the tag instead.
func TestReferrers_Unavailable(t *testing.T) {
	subject := oci.DigestOf(oci.SHA256, image())
	status := func(n int) http.HandlerFunc { return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(n) } }
	apis := map[string]http.HandlerFunc{
		"404": status(404), "400": status(400), "405": status(405), "406": status(406), "501": status(501),
		"a page of GitHub's": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://github.example.com/-/v2/packages", http.StatusSeeOther)
		},
		"a page":       func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") },
		"another type": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "{}") },
	}
	tags := map[string]struct {
		h    http.HandlerFunc
		want int // -1 for an outage
	}{
		"none":               {status(404), 0},
		"an index":           {func(w http.ResponseWriter, _ *http.Request) { sendIndex(w, indexOf(3)) }, 3},
		"GitLab's subject":   {sendImage, 0},
		"a broken index":     {func(w http.ResponseWriter, _ *http.Request) { sendIndex(w, indexOf(3)[1:]) }, -1},
		"down":               {status(500), -1},
		"more than is asked": {func(w http.ResponseWriter, _ *http.Request) { sendIndex(w, indexOf(11)) }, -1},
		"no index": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", oci.MediaTypeImageManifest)
			_, _ = w.Write(append(image(), ' '))
		}, -1},
	}
	for api, refuse := range apis {
		for tag, c := range tags {
			client := serve(t, patient(), func(w http.ResponseWriter, r *http.Request) {
				switch r.URL.Path {
				case "/v2/a/b/referrers/" + subject.String():
					refuse(w, r)
				case "/v2/a/b/manifests/sha256-" + subject.Hex():
					c.h(w, r)
				default:
					t.Errorf("asked %s", r.URL)
				}
			})
			list, err := client.Referrers(t.Context(), "a/b", subject, 10)
			if c.want < 0 {
				wantOutage(t, err)
				continue
			}
			if err != nil || len(list) != c.want {
				t.Errorf("%s, %s: %d referrers, %v", api, tag, len(list), err)
			}
			if s := client.Status(); !s.FailedAt.IsZero() {
				t.Errorf("%s, %s: an API that need not be there is held against the upstream: %+v", api, tag, s)
			}
		}
	}
	for n, want := range map[int]Outcome{401: Denied, 403: Denied, 500: Outage, 429: Outage} {
		c := serve(t, patient(), status(n))
		if _, err := c.Referrers(t.Context(), "a/b", subject, 10); OutcomeOf(err) != want {
			t.Errorf("%d: %v", n, err)
		}
	}
}

func TestReferrers_TagOfLongDigests(t *testing.T) {
	subject := oci.DigestOf(oci.SHA512, []byte("subject"))
	var paths []string
	c := serve(t, patient(), func(w http.ResponseWriter, r *http.Request) {
		paths = append(paths, r.URL.Path)
		http.NotFound(w, r)
	})
	if list, err := c.Referrers(t.Context(), "a/b", subject, 10); err != nil || len(list) != 0 {
		t.Error(list, err)
	}
	if len(paths) != 2 || paths[1] != "/v2/a/b/manifests/sha512-"+subject.Hex()[:64] {
		t.Errorf("asked %s", paths)
	}
}

// TestT7_APageThatIsNotThere of a list that began is an outage: what was listed before is
// not forgotten, nor looked for under the tag.
func TestT7_APageThatIsNotThere(t *testing.T) {
	subject := oci.DigestOf(oci.SHA256, []byte("subject"))
	for _, status := range []int{404, 400, 405, 406, 501} {
		asked := 0
		c := serve(t, patient(), func(w http.ResponseWriter, r *http.Request) {
			if asked++; r.URL.RawQuery == "" || strings.HasSuffix(r.URL.Path, "/tags/list") && r.URL.Query().Get("page") == "" {
				w.Header().Set("Link", "<"+r.URL.Path+`?page=2>; rel="next"`)
				if strings.HasSuffix(r.URL.Path, "/tags/list") {
					fmt.Fprint(w, `{"tags":["a"]}`)
					return
				}
				sendIndex(w, indexOf(2))
				return
			}
			w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
			w.WriteHeader(status)
		})
		_, err := c.Referrers(t.Context(), "a/b", subject, 10)
		if wantOutage(t, err); asked != 2 {
			t.Errorf("%d: %d requests", status, asked)
		}
		_, err = allTags(t.Context(), c, 10)
		wantOutage(t, err)
	}
}

// TestT6_ReferrersBehindARedirect are those of the registry that the host leads to. A
// redirect that is wrong in another way than to lead to a page is an outage.
func TestT6_ReferrersBehindARedirect(t *testing.T) {
	subject := oci.DigestOf(oci.SHA256, []byte("subject"))
	w, cs := withRealm("https://ghcr.example.net", "https://auth.example.net/token", "https://auth.example.net")
	w.hosts[origin] = func(rw http.ResponseWriter, r *http.Request) {
		http.Redirect(rw, r, "https://ghcr.example.net"+r.URL.RequestURI(), http.StatusTemporaryRedirect)
	}
	protected := w.hosts["https://ghcr.example.net"]
	w.hosts["https://ghcr.example.net"] = func(rw http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/referrers/") && r.Header.Get("Authorization") != "" {
			if r.URL.RawQuery == "" {
				rw.Header().Set("Link", "<"+r.URL.Path+`?page=2>; rel="next"`)
			}
			sendIndex(rw, indexOf(2))
			return
		}
		protected(rw, r)
	}
	client := clientOf(t, cs, Config{Target: Target{URL: origin}})
	if list, err := client.Referrers(t.Context(), "a/b", subject, 10); err != nil || len(list) != 4 {
		t.Errorf("%d referrers, %v", len(list), err)
	}
	for _, to := range []string{"http://ghcr.example.net/v2/a/b/referrers/" + subject.String(), "", "https://u:p@ghcr.example.net/"} {
		w.hosts[origin] = func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Location", to)
			rw.WriteHeader(http.StatusTemporaryRedirect)
		}
		_, err := client.Referrers(t.Context(), "a/b", subject, 10)
		wantOutage(t, err)
	}
}
