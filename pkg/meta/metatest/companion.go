package metatest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// companion is a tag that accompanies a manifest: sha256-….sig.
func companion(m meta.Manifest, suffix string) string {
	return strings.Replace(m.Digest.String(), ":", "-", 1) + suffix
}

// testCompanions tests what becomes of companion tags when their subject is deleted.
func testCompanions(t *testing.T, open Open) {
	// accompanied has a subject with a signature, an SBOM, and a referrer that a list names
	// by the tag of those without the referrers API.
	type accompanied struct{ subject, sig, sbom, referrer, list meta.Manifest }
	push := func(w world, r meta.Repo) accompanied {
		a := accompanied{subject: w.pushImage(r, "v1", "config")}
		a.sig = w.put(r, w.image(nil, w.push(r, "sig")), companion(a.subject, ".sig"))
		a.sbom = w.put(r, w.image(nil, w.push(r, "sbom")), companion(a.subject, ".sbom"))
		a.referrer = w.put(r, w.artifact(descriptor(a.subject), "application/sbom", nil, w.push(r, "referrer")))
		a.list = w.put(r, w.index(a.referrer, a.sig), companion(a.subject, ""))
		return a
	}
	remove := func(w world, r meta.Repo, m meta.Manifest, referrers bool) {
		w.t.Helper()
		w.must(w.Store.DeleteManifest(w.t.Context(), meta.ManifestDelete{Repo: r, Digest: m.Digest, By: cause(), Referrers: referrers}))
	}
	t.Run("W18 they go with it, and come back", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		a := push(w, r)
		ofSig := w.put(r, w.image(nil, w.push(r, "sig of sig")), companion(a.sig, ".sig"))
		other := w.put(r, w.image(nil, w.push(r, "other")), companion(a.subject, ".other"), companion(ofSig, ".att"), "named")
		remove(w, r, a.subject, true)
		w.sameTags(r, slices.Sorted(slices.Values([]string{"named", companion(a.subject, ".other"), companion(ofSig, ".att")}))...)
		for _, m := range []meta.Manifest{a.subject, a.sig, a.sbom, a.referrer, a.list, ofSig} {
			w.missing(r, m.Digest)
		}
		if left := w.trash(r); len(left) != 6 {
			t.Errorf("the trash has %d", len(left))
		}
		w.consistent()
		w.must(w.undelete(r, a.subject.Digest))
		w.complete(r, a.subject.Digest, "config", "sig", "sbom", "referrer", "sig of sig")
		for tag, want := range map[string]meta.Manifest{
			"v1": a.subject, companion(a.subject, ".sig"): a.sig, companion(a.subject, ".sbom"): a.sbom, companion(a.subject, ""): a.list,
			companion(a.sig, ".sig"): ofSig, "named": other,
		} {
			if got := w.tagged(r, tag); got != want.Digest {
				t.Errorf("%s is %q, want %s", tag, got, want.Digest)
			}
		}
		if left := w.trash(r); len(left) != 0 {
			t.Errorf("the trash has %v", left)
		}
		w.Advance(10 * meta.DefaultLifetimes.Grace)
		w.collect()
		w.consistent()
		w.complete(r, a.list.Digest, "sig", "sbom", "referrer")
	})
	t.Run("W18 only where their tag is free, and without it where not", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		a := push(w, r)
		remove(w, r, a.subject, true)
		again := w.put(r, w.image(nil, w.push(r, "again")), companion(a.subject, ".sig"))
		w.must(w.undelete(r, a.subject.Digest))
		if got := w.tagged(r, companion(a.subject, ".sig")); got != again.Digest {
			t.Errorf("the signature is %s", got)
		}
		w.complete(r, a.sig.Digest, "sig")
		w.consistent()
	})
	t.Run("W18 they stay where referrers do, and what has another tag", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		a := push(w, r)
		remove(w, r, a.subject, false)
		w.sameTags(r, companion(a.subject, ""), companion(a.subject, ".sbom"), companion(a.subject, ".sig"))
		w.must(w.undelete(r, a.subject.Digest))
		w.must(w.tryPut(r, w.image(nil, w.push(r, "sbom")), "named")) // the SBOM itself
		remove(w, r, a.subject, true)
		w.sameTags(r, "named", companion(a.subject, ".sbom"))
		_, err := w.Store.FindManifest(t.Context(), r, oci.Reference{Digest: a.referrer.Digest})
		w.refused(err, fault.NotFound, fault.ManifestUnknown)
		w.consistent()
	})
	t.Run("W18 a push of one against the deletion comes before it, or stays", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		for i := range 10 {
			m := w.pushImage(r, "v1", fmt.Sprint("config ", i))
			w.put(r, w.image(nil, w.push(r, fmt.Sprint("first ", i))), companion(m, ".sig"))
			again := w.image(nil, w.push(r, fmt.Sprint("again ", i)))
			together(
				func() { w.fine(w.tryPut(r, again, companion(m, ".sig"))) },
				func() {
					w.fine(w.Store.DeleteManifest(t.Context(), meta.ManifestDelete{Repo: r, Digest: m.Digest, By: cause(), Referrers: true}))
				},
			)
			at := w.tagged(r, companion(m, ".sig"))
			if gone := slices.Contains(w.trash(r), again.Manifest.Digest); at != again.Manifest.Digest && (at != "" || !gone) {
				t.Errorf("the signature is %q, and the pushed one in the trash: %t", at, gone)
			}
			w.consistent()
		}
	})
	t.Run("W18 of a protected release they can be pushed again, and deleted", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		m := w.pushImage(r, "1.0.0", "config")
		rule := w.tagRule("all")
		rule.Classes, rule.Tags = nil, []string{"*"}
		w.addTagRule(rule)
		for _, suffix := range []string{"", ".sig", ".att", ".sbom"} {
			first := w.put(r, w.image(nil, w.push(r, "first"+suffix)), companion(m, suffix))
			w.put(r, w.image(nil, w.push(r, "second"+suffix)), companion(m, suffix))
			w.must(w.Store.DeleteTag(t.Context(), cause(), r, companion(m, suffix)))
			w.must(w.tryDelete(r, first.Digest))
		}
		w.sameTags(r, "1.0.0")
		w.consistent()
	})
}
