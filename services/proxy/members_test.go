package proxy_test

import (
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/dice"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/services/internal/fronttest"
	"github.com/berth-registry/berth/tools/testserver"
)

// TestE11_AnImageIsFromOneMember has two members with other images under the same
// tag. Between pulls, and in the middle of them, each of them has it, does not
// have it, or is out.
func TestE11_AnImageIsFromOneMember(t *testing.T) {
	play := rand.New(rand.NewPCG(dice.Seed(t), 11))
	w := newWorld(t)
	members := map[string]*testserver.Scripted{"a": testserver.StartScripted(t), "b": testserver.StartScripted(t)}
	from := map[string]string{} // the member, by the bytes of its index
	images := map[string]ocitest.Image{}
	for name, up := range members {
		w.upstream(name, up.URL(), func(s *meta.UpstreamSettings) { s.NegativeTTL = time.Second })
	}
	w.chain(meta.Member{Upstream: "a"}, meta.Member{Upstream: "b"})
	move := func(name string, seed uint64) {
		img := ocitest.NewImage(seed, 700, 900)
		members[name].Push(testserver.ScriptedName, img, testserver.ScriptedTag)
		from[string(img.Index.Bytes)], images[string(img.Index.Bytes)] = name, img
	}
	move("a", 998)
	move("b", 999)
	flip := func() {
		for _, name := range []string{"a", "b"} { // in order, so that a seed replays the play
			members[name].Script([]testserver.Fault{testserver.FaultNone, testserver.FaultNone, testserver.FaultNotFound, testserver.Fault400}[play.IntN(4)])
		}
	}
	whole := map[string]int{}
	rounds := dice.Count(t, 60, 1000)
	// About one pull in 11 is a whole one from b: without one in all rounds, there are more rounds.
	for i := 0; i < rounds || (whole["a"] == 0 || whole["b"] == 0) && i < 20*rounds; i++ {
		w.pass(tagTTL + time.Second) // who has the tag is asked again
		if play.IntN(3) == 0 {
			move("a", uint64(1000+2*i))
		}
		if play.IntN(3) == 0 {
			move("b", uint64(1001+2*i))
		}
		flip()
		for _, up := range members {
			up.Forget()
		}
		inTheMiddle := play.IntN(2) == 0
		tagged := w.get("/v2/" + testserver.ScriptedName + "/manifests/" + testserver.ScriptedTag)
		img, known := images[tagged.Body]
		if tagged.Status != http.StatusOK {
			continue
		}
		if !known {
			t.Fatalf("pull %d: a manifest that no member has", i)
		}
		ok := true
		for _, r := range requestsOf(testserver.ScriptedName, testserver.ScriptedTag, img)[1:] {
			if inTheMiddle {
				flip()
			}
			a, err := w.Send(fronttest.Request{Host: w.dev.Host, Path: r.path})
			if ok = err == nil && a.Status == http.StatusOK; !ok {
				break
			}
			if a.Body != string(r.want.Bytes) {
				t.Fatalf("pull %d: GET %s: %d bytes that are not those of the member", i, r.path, len(a.Body))
			}
		}
		winner := from[tagged.Body]
		if ok {
			whole[winner]++
		}
		if inTheMiddle {
			continue
		}
		for name, up := range members {
			byDigest := func(r testserver.Request) bool { return strings.Contains(r.Path, "sha256:") }
			if name != winner && members[winner].Count("", "*") > 0 && slices.ContainsFunc(up.Requests(), byDigest) && ok {
				t.Errorf("pull %d: the image is from %s, and %s was asked for parts of it: %+v", i, winner, name, up.Requests())
			}
		}
	}
	if whole["a"] == 0 || whole["b"] == 0 {
		t.Errorf("whole pulls by member: %v, want some of each", whole)
	}
}

// TestE11_PartsComeFromOthersOnlyWhereTheFirstDoesNotHaveThem has the first member
// say that it does not have a layer of its image, and the second have it.
func TestE11_PartsComeFromOthersOnlyWhereTheFirstDoesNotHaveThem(t *testing.T) {
	w := newWorld(t)
	first, second := testserver.StartScripted(t), testserver.StartScripted(t)
	for name, up := range map[string]*testserver.Scripted{"first": first, "second": second} {
		w.upstream(name, up.URL(), func(s *meta.UpstreamSettings) { s.NegativeTTL = 0 })
	}
	w.chain(meta.Member{Upstream: "second"}, meta.Member{Upstream: "first"}) // in the other order
	img := ocitest.NewImage(110, 1000, 2000)
	for _, m := range []ocitest.Content{img.Index, img.Manifest} {
		first.PushManifest("library/parted", m, "1")
	}
	first.PushBlob("library/parted", img.Config)
	first.PushBlob("library/parted", img.Layers[0])
	for _, b := range img.Blobs() {
		second.PushBlob("library/parted", b)
	}
	for _, r := range requestsOf("library/parted", img.Index.Digest.String(), img) {
		if status, ok := w.fetch(r.path, r.want); !ok {
			t.Fatalf("GET %s: %d", r.path, status)
		}
	}
	path := "/v2/library/parted/blobs/"
	for _, b := range img.Blobs() {
		if n := first.Count("", path+b.Digest.String()); n != 1 {
			t.Errorf("the member that names blob %s was asked %d times for it", b.Digest, n)
		}
	}
	if n, all := second.Count("", path+img.Layers[1].Digest.String()), second.Count("", path+"*"); n != 1 || all != 1 {
		t.Errorf("the other was asked %d times for what the first does not have, and %d times in all", n, all)
	}
}
