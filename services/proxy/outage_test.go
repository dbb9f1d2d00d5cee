package proxy_test

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/services/internal/fronttest"
	"github.com/berth-registry/berth/tools/testserver"
)

// request is one request of a pull.
type request struct {
	path string
	want ocitest.Content
}

// requestsOf are all requests of a pull of the image under a tag.
func requestsOf(name, tag string, img ocitest.Image) []request {
	base := "/v2/" + name
	all := []request{{base + "/manifests/" + tag, img.Index}, {base + "/manifests/" + img.Manifest.Digest.String(), img.Manifest}}
	for _, b := range img.Blobs() {
		all = append(all, request{base + "/blobs/" + b.Digest.String(), b})
	}
	return all
}

// failing are the faults that come to one of the outcomes.
func failing(outcomes ...testserver.Outcome) []testserver.Fault {
	return slices.DeleteFunc(testserver.Faults(), func(f testserver.Fault) bool { return !slices.Contains(outcomes, f.Outcome()) })
}

// lure holds all that the upstream does, and another image under its tag: what
// falls through to it is answered, and wrongly.
func lure(t *testing.T, of *testserver.Scripted) *testserver.Scripted {
	t.Helper()
	l := testserver.StartScripted(t)
	l.Push(testserver.ScriptedName, of.Image)
	l.Push(testserver.ScriptedName, ocitest.NewImage(50, 3000), testserver.ScriptedTag)
	return l
}

// TestE10_NoFailureFallsThrough plays every failure that there is at the first
// and at the second of three members.
func TestE10_NoFailureFallsThrough(t *testing.T) {
	t.Parallel()
	kinds := failing(testserver.OutcomeOutage, testserver.OutcomeRateLimited)
	if len(kinds) < 25 {
		t.Fatalf("%d kinds of failure, want 25 or more", len(kinds))
	}
	for _, f := range kinds {
		scripts := [][]testserver.Part{nil}
		if on := f.On(); slices.Contains(on, testserver.PartBlobs) && slices.Contains(on, testserver.PartManifests) {
			scripts = append(scripts, []testserver.Part{testserver.PartBlobs})
			if slices.Contains(on, testserver.PartPing) {
				scripts[1] = append(scripts[1], testserver.PartPing) // /v2/ would vouch for it
			}
		}
		for _, on := range scripts {
			for position := 1; position <= 2 && (position == 1 || on == nil); position++ {
				t.Run(fmt.Sprintf("%s%v at %d", f, on, position), func(t *testing.T) {
					t.Parallel()
					failureAt(t, position, f, on)
				})
			}
		}
	}
}

func failureAt(t *testing.T, position int, f testserver.Fault, on []testserver.Part) {
	w := newWorldWith(t, impatient)
	faulty, empty := testserver.StartScripted(t), testserver.StartScripted(t)
	empty.Delete(testserver.ScriptedName)
	after := lure(t, faulty)
	w.upstream("empty", empty.URL(), nil)
	w.upstream("faulty", faulty.URL(), nil)
	w.upstream("after", after.URL(), nil)
	members := []meta.Member{{Upstream: "empty"}, {Upstream: "faulty"}, {Upstream: "after"}}
	w.chain(members[2-position:]...)
	faulty.Script(f, on...)

	failed := 0
	for i, r := range requestsOf(testserver.ScriptedName, testserver.ScriptedTag, faulty.Image) {
		if i >= 2 && failed > 0 {
			break // clients give up
		}
		a, err := w.Send(fronttest.Request{Host: w.dev.Host, Path: r.path})
		switch {
		case err != nil: // it broke off
			failed++
		case a.Status == http.StatusOK:
			if a.Body != string(r.want.Bytes) {
				t.Errorf("GET %s: a complete answer of %d bytes that are not those of the upstream", r.path, len(a.Body))
			}
		default:
			failed++
			wantOutage(t, r.path, f, a)
		}
	}
	if failed == 0 {
		t.Error("no request of the pull failed")
	}
	if n := after.Connections(); n != 0 {
		t.Errorf("the member after the one that failed saw %d requests: %+v", n, after.Requests())
	}
}

func wantOutage(t *testing.T, path string, f testserver.Fault, a fronttest.Answer) {
	t.Helper()
	retry, err := strconv.Atoi(a.Header.Get("Retry-After"))
	if f.Outcome() == testserver.OutcomeRateLimited {
		if a.Status != http.StatusTooManyRequests || err != nil || retry < 1 {
			t.Errorf("GET %s: %d, Retry-After %q, want 429 with one", path, a.Status, a.Header.Get("Retry-After"))
		}
		if most := int(testserver.ScriptedRetryAfter.Seconds()); strings.Contains(f.String(), "Retry-After") && retry > most {
			t.Errorf("GET %s: Retry-After %d, and the upstream said %d", path, retry, most)
		}
		return
	}
	if !slices.Contains([]int{http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout}, a.Status) {
		t.Errorf("GET %s: %d %s, want 502, 503 or 504", path, a.Status, a.Body)
	}
}

// TestE10_DeniedStopsWithACredential is about 401 and 403, of the registry and
// of its token endpoint.
func TestE10_DeniedStopsWithACredential(t *testing.T) {
	t.Parallel()
	for _, f := range failing(testserver.OutcomeDenied) {
		for name, c := range map[string]struct {
			username string
			policy   meta.Policy
			goesOn   bool
		}{
			"anonymous":                      {"", "", true},
			"anonymous, to stop":             {"", meta.Stop, false},
			"with a credential":              {"bob", "", false},
			"with a credential, to continue": {"bob", meta.Continue, true},
		} {
			t.Run(f.String()+" "+name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				denies, after := testserver.StartScripted(t), testserver.StartScripted(t)
				w.upstream("denies", denies.URL(), func(s *meta.UpstreamSettings) {
					if s.Username = c.username; s.Username != "" {
						s.Password = []byte("secret")
					}
				})
				w.upstream("after", after.URL(), nil)
				w.chain(meta.Member{Upstream: "denies", OnDenied: c.policy}, meta.Member{Upstream: "after"})
				if c.username != "" {
					denies.RequireToken("bob", "secret")
				}
				denies.Script(f)
				if c.goesOn {
					w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, after.Image)
					return
				}
				for _, r := range requestsOf(testserver.ScriptedName, testserver.ScriptedTag, after.Image) {
					if a := w.get(r.path); a.Status != http.StatusForbidden || a.Code() != "DENIED" || !strings.Contains(a.Body, "denies") || !strings.Contains(a.Body, "on_denied") {
						t.Errorf("GET %s: %d %s, want 403 that names the upstream and on_denied", r.path, a.Status, a.Body)
					}
				}
				if n := after.Connections(); n != 0 {
					t.Errorf("the member after it saw %d requests", n)
				}
			})
		}
	}
}

// TestE10_NoListEndsAtAFailure plays the same failures where tags and referrers
// of two members are merged: half of a list would be taken for the whole.
func TestE10_NoListEndsAtAFailure(t *testing.T) {
	t.Parallel()
	lists := []testserver.Part{testserver.PartTags, testserver.PartReferrers}
	meant := []testserver.Fault{
		testserver.FaultLyingDigest, testserver.FaultWrongMediaType, // lists have no digest, and registries call them many things
		testserver.FaultRedirectLoop, testserver.FaultRedirectDead, // a registry that has no referrers may lead to a page
	}
	for _, f := range failing(testserver.OutcomeOutage, testserver.OutcomeRateLimited) {
		on := f.On()
		if slices.Equal(on, []testserver.Part{testserver.PartBlobs}) || slices.Contains(meant, f) {
			continue
		}
		if len(on) > 0 && !slices.Contains(on, testserver.PartToken) && !slices.Contains(on, testserver.PartTags) {
			on = lists
		}
		t.Run(f.String(), func(t *testing.T) {
			t.Parallel()
			w := newWorldWith(t, impatient)
			faulty, after := testserver.StartScripted(t), testserver.StartScripted(t)
			subject := faulty.Image.Index
			after.PushManifest(testserver.ScriptedName, referrer(subject, "application/x.sbom", 1))
			w.upstream("faulty", faulty.URL(), nil)
			w.upstream("after", after.URL(), nil)
			w.chain(meta.Member{Upstream: "faulty"}, meta.Member{Upstream: "after"})
			faulty.Script(f, on...)
			for _, path := range []string{"tags/list", "referrers/" + subject.Digest.String()} {
				path = "/v2/" + testserver.ScriptedName + "/" + path
				wantOutage(t, path, f, w.get(path))
			}
			if n := after.Connections(); n != 0 {
				t.Errorf("the member after the one that failed saw %d requests: %+v", n, after.Requests())
			}
		})
	}
}

// TestE10_OurOwnFailureStops whatever the policy: it says nothing of the member.
func TestE10_OurOwnFailureStops(t *testing.T) {
	w := newWorld(t)
	after := testserver.StartScripted(t)
	w.upstream("broken", "ftp://cannot.be.asked", nil)
	w.upstream("after", after.URL(), nil)
	w.chain(meta.Member{Upstream: "broken", OnOutage: meta.Continue, OnDenied: meta.Continue}, meta.Member{Upstream: "after"})
	for _, r := range requestsOf(testserver.ScriptedName, testserver.ScriptedTag, after.Image) {
		if a := w.get(r.path); a.Status != http.StatusServiceUnavailable {
			t.Errorf("GET %s: %d %s", r.path, a.Status, a.Body)
		}
	}
	if n := after.Connections(); n != 0 {
		t.Errorf("the member after it saw %d requests", n)
	}
}

// TestE10_OnOutage is the tenant's choice.
func TestE10_OnOutage(t *testing.T) {
	for policy, status := range map[meta.Policy]int{meta.Continue: http.StatusOK, meta.Stop: http.StatusBadGateway, "": http.StatusBadGateway} {
		w := newWorld(t)
		faulty, after := testserver.StartScripted(t), testserver.StartScripted(t)
		faulty.Script(testserver.Fault500)
		w.upstream("faulty", faulty.URL(), nil)
		w.upstream("after", after.URL(), nil)
		w.chain(meta.Member{Upstream: "faulty", OnOutage: policy}, meta.Member{Upstream: "after"})
		if got, _ := w.pull("", testserver.ScriptedName, testserver.ScriptedTag, after.Image); got != status {
			t.Errorf("with on_outage %q: %d, want %d", policy, got, status)
		}
	}
}

// TestE10_AnOutageThatIsPassedIsNoAbsence where no one else has it, whichever
// comes first.
func TestE10_AnOutageThatIsPassedIsNoAbsence(t *testing.T) {
	for _, order := range [][]string{{"faulty", "empty"}, {"empty", "faulty"}} {
		w := newWorld(t)
		faulty, empty := testserver.StartScripted(t), testserver.StartScripted(t)
		image := faulty.Image
		w.upstream("faulty", faulty.URL(), nil)
		w.upstream("empty", empty.URL(), nil)
		faulty.Script(testserver.Fault500)
		empty.Script(testserver.FaultNotFound)
		w.chain(meta.Member{Upstream: order[0], OnOutage: meta.Continue}, meta.Member{Upstream: order[1], OnOutage: meta.Continue})
		paths := []string{"/v2/" + testserver.ScriptedName + "/tags/list", "/v2/" + testserver.ScriptedName + "/referrers/" + image.Index.Digest.String()}
		for _, r := range requestsOf(testserver.ScriptedName, testserver.ScriptedTag, image) {
			paths = append(paths, r.path)
		}
		for _, path := range paths {
			if a := w.get(path); a.Status != http.StatusBadGateway && a.Status != http.StatusServiceUnavailable {
				t.Errorf("%v: GET %s: %d %s", order, path, a.Status, a.Body)
			}
		}
		if a := w.resolve(testserver.ScriptedName, testserver.ScriptedTag); a.Outcome != chain.Outage {
			t.Errorf("%v: %+v", order, a)
		}
		if empty.Count("", "*") == 0 {
			t.Errorf("%v: the other member was not asked", order)
		}
	}
}

// TestE10_NotHereGoesOn is what the others are compared with.
func TestE10_NotHereGoesOn(t *testing.T) {
	w := newWorld(t)
	empty, after := testserver.StartScripted(t), testserver.StartScripted(t)
	empty.Script(testserver.FaultNotFound)
	w.upstream("empty", empty.URL(), nil)
	w.upstream("after", after.URL(), nil)
	w.chain(meta.Member{Upstream: "empty"}, meta.Member{Upstream: "after"})
	w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, after.Image)
	if empty.Count("", "*") == 0 {
		t.Error("the first member was not asked")
	}
}
