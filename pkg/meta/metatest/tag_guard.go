package metatest

import (
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

// testProtectedTags tests what tag rules protect, and from what.
func testProtectedTags(t *testing.T, open Open) {
	t.Run("W32 keep their manifest", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		first, second := w.image(nil, w.push(r, "first")), w.image(nil, w.push(r, "second"))
		w.put(r, first, "v1.2.3", "v1.2.3-SNAPSHOT", "latest") // before the rule
		w.addTagRule(w.tagRule("releases"))
		w.protects(w.tryPut(r, second, "new", "v1.2.3", "latest"), "tag v1.2.3 is protected by tag rule releases (no overwrite)")
		w.sameTags(r, "latest", "v1.2.3", "v1.2.3-SNAPSHOT") // all or none
		w.missing(r, second.Manifest.Digest)
		w.put(r, first, "v1.2.3") // it is there already
		w.put(r, second, "latest", "v1.2.3-SNAPSHOT", "v1.2.4")
		w.put(r, second)
		w.protects(w.tryPut(r, second, "v1.2.3"), "tag v1.2.3 is")
		w.protects(w.tryPut(r, first, "v1.2.4"), "tag v1.2.4 is")
		if got := w.tagged(r, "v1.2.3"); got != first.Manifest.Digest {
			t.Errorf("v1.2.3 is %s", got)
		}
		w.consistent()
	})
	t.Run("W32 are those of the rule's registry and repositories, while it counts", func(t *testing.T) {
		w := newWorld(t, open)
		dev := w
		dev.registry = w.addRegistry("dev").ID
		rule := w.tagRule("releases")
		rule.Registry, rule.Repositories = tenant.MainRegistry, []string{"team/**"}
		rule = w.addTagRule(rule)
		for _, r := range []meta.Repo{dev.repo("team/app"), w.repo("app"), w.repo("team/app")} {
			first, second := w.image(nil, w.push(r, "first")), w.image(nil, w.push(r, "second"))
			w.put(r, first, "1.0.0")
			if err := w.tryPut(r, second, "1.0.0"); r == w.repo("team/app") {
				w.protects(err, "tag 1.0.0 is")
			} else {
				w.must(err)
			}
		}
		rule.NoOverwrite = false
		rule, err := w.Store.UpdateTagRule(t.Context(), cause(), rule)
		w.must(err)
		r := w.repo("team/app")
		w.put(r, w.image(nil, w.push(r, "second")), "1.0.0")
		w.protects(w.Store.DeleteTag(t.Context(), cause(), r, "1.0.0"), "(no delete)")
		rule.Disabled = true
		_, err = w.Store.UpdateTagRule(t.Context(), cause(), rule)
		w.must(err)
		w.must(w.Store.DeleteTag(t.Context(), cause(), r, "1.0.0"))
	})
	t.Run("W33 stay, whatever is deleted", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		amd, arm := w.put(r, w.image(nil, w.push(r, "amd"))), w.put(r, w.image(nil, w.push(r, "arm")))
		inner := w.put(r, w.index(amd, arm))
		outer := w.put(r, w.index(inner), "1.0.0", "latest")
		free := w.put(r, w.index(arm), "edge")
		w.addTagRule(w.tagRule("releases"))
		const refusal = "tag 1.0.0 is protected by tag rule releases (no delete)"
		w.protects(w.Store.DeleteTag(t.Context(), cause(), r, "1.0.0"), refusal)
		for _, m := range []meta.Manifest{outer, inner, amd, arm} {
			for _, force := range []bool{false, true} {
				w.protects(w.Store.DeleteManifest(t.Context(), meta.ManifestDelete{Repo: r, Digest: m.Digest, By: cause(), Force: force, Referrers: true}), refusal)
			}
		}
		w.sameTags(r, "1.0.0", "edge", "latest")
		w.consistent() // the indexes still hold their children
		w.refused(w.Store.DeleteTag(t.Context(), cause(), r, "1.0.1"), fault.NotFound, fault.ManifestUnknown)
		w.refused(w.tryDelete(r, digestOf("none")), fault.NotFound, fault.ManifestUnknown)
		dry := cause()
		dry.ValidateOnly = true
		w.protects(w.Store.DeleteTag(t.Context(), dry, r, "1.0.0"), refusal)
		w.must(w.Store.DeleteTag(t.Context(), dry, r, "latest"))
		w.sameTags(r, "1.0.0", "edge", "latest")
		w.must(w.Store.DeleteTag(t.Context(), cause(), r, "latest"))
		w.must(w.tryDelete(r, free.Digest))
		w.sameTags(r, "1.0.0")
	})
	t.Run("W33 stay by the thousand, and nothing is deleted by halves", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		image := w.image(nil, w.push(r, "config"))
		w.put(r, image, numbered("tag%06d", 700)...)
		w.put(r, image, numbered("1.0.%d", 600)...)
		index := w.index(image.Manifest)
		w.put(r, index)
		w.addTagRule(w.tagRule("releases"))
		for _, force := range []bool{false, true} {
			del := meta.ManifestDelete{Repo: r, Digest: image.Manifest.Digest, By: cause(), Force: force}
			err := w.Store.DeleteManifest(t.Context(), del)
			w.protects(err, "and 599 others are protected by tag rule releases (no delete)")
			if tags, err := w.Store.ListTags(t.Context(), r, meta.Page{Size: 10_000}); err != nil || len(tags) != 1300 {
				t.Fatalf("%d tags are left, %v", len(tags), err)
			}
		}
		w.consistent()
		del := meta.ManifestDelete{Repo: r, Digest: image.Manifest.Digest, By: cause(), Force: true}
		del.By.OverrideTagRules = true
		w.must(w.Store.DeleteManifest(t.Context(), del))
		w.sameTags(r)
	})
	t.Run("W34 keep their repository and their registry", func(t *testing.T) {
		w := newWorld(t, open)
		dev := w
		dev.registry = w.addRegistry("dev").ID
		r, plain := dev.repo("team/app"), dev.repo("plain")
		image := w.image(nil, w.push(r, "config"))
		w.put(r, image, numbered("1.0.%d", 1100)...)
		w.put(plain, w.index(), "latest")
		w.addTagRule(w.tagRule("releases"))
		refusal := "and 1099 others are protected by tag rule releases (no delete)"
		dry, forced := cause(), cause()
		dry.ValidateOnly, forced.OverrideTagRules = true, true
		w.protects(w.Store.DeleteRepository(t.Context(), cause(), r), refusal)
		w.protects(w.Store.DeleteRepository(t.Context(), dry, r), refusal)
		w.must(w.Store.DeleteRepository(t.Context(), dry, plain))
		w.must(w.Store.DeleteRepository(t.Context(), cause(), plain))
		w.protects(w.Store.DeleteRegistry(t.Context(), cause(), w.tenant, "dev", 0, true), refusal)
		w.must(w.Store.DeleteRegistry(t.Context(), forced, w.tenant, "dev", 0, true))
		_, err := w.Store.UndeleteRegistry(t.Context(), cause(), w.tenant, "dev", 0)
		w.must(err)
		w.protects(w.Store.DeleteRepository(t.Context(), cause(), r), refusal)
		w.consistent()
	})
	t.Run("W35 go if an administrator says so, and the event tells", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		image := w.image(nil, w.push(r, "config"))
		w.addTagRule(w.tagRule("releases"))
		overridden := func(err error, verb, change string) {
			t.Helper()
			w.must(err)
			e := w.events("", 1)[0]
			if e.Verb != verb || !strings.Contains(e.Changes, `{"field":"tag_rule releases","old":"`+change+`","new":"overridden"}`) {
				t.Errorf("event %s: %s", e.Verb, e.Changes)
			}
		}
		forced := func() meta.Cause {
			by := cause()
			by.OverrideTagRules = true
			return by
		}
		w.put(r, image, "1.0.0", "1.0.1", "1.0.2")
		overridden(w.Store.DeleteTag(t.Context(), forced(), r, "1.0.0"), "tag.delete", "protects 1, such as 1.0.0")
		overridden(w.Store.DeleteManifest(t.Context(), meta.ManifestDelete{Repo: r, Digest: image.Manifest.Digest, By: forced()}), "manifest.delete", "protects 2, such as 1.0.1")
		w.put(r, image, "1.0.0")
		overridden(w.Store.DeleteRepository(t.Context(), forced(), r), "repository.delete", "protects 1, such as 1.0.0")
		w.consistent()
	})
	t.Run("W36 leave their companions free", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		image := w.put(r, w.image(nil, w.push(r, "config")), "1.0.0")
		all := w.tagRule("all")
		all.Classes, all.Tags = nil, []string{"*"}
		w.addTagRule(all)
		signature := "sha256-" + image.Digest.Hex() + ".sig"
		first, second := w.image(nil, w.push(r, "first")), w.image(nil, w.push(r, "second"))
		for _, tag := range []string{signature, strings.TrimSuffix(signature, ".sig")} {
			w.put(r, first, tag)
			w.put(r, second, tag)
			w.must(w.Store.DeleteTag(t.Context(), cause(), r, tag))
		}
		sbom := w.put(r, w.artifact(descriptor(image), "application/sbom", nil, w.push(r, "sbom")))
		w.must(w.tryDelete(r, sbom.Digest))
		w.put(r, w.artifact(descriptor(image), "application/sbom", nil, w.push(r, "sbom")), "sbom")
		del := meta.ManifestDelete{Repo: r, Digest: image.Digest, By: cause(), Referrers: true}
		del.By.OverrideTagRules = true
		w.must(w.Store.DeleteManifest(t.Context(), del)) // referrers go with it, whatever their tags
		w.sameTags(r)
		w.consistent()
	})
}

// protects fails the test unless err is a refusal by a tag rule that says this.
func (w world) protects(err error, message string) {
	w.t.Helper()
	w.refused(err, fault.Denied, fault.DeniedReason)
	if f := fault.From(err); !strings.Contains(f.Message, message) || f.Detail == nil {
		w.t.Errorf("refused by %q, want %q", f.Message, message)
	}
}

func (w world) missing(r meta.Repo, d oci.Digest) {
	w.t.Helper()
	_, err := w.Store.FindManifest(w.t.Context(), r, oci.Reference{Digest: d})
	w.refused(err, fault.NotFound, fault.ManifestUnknown)
}
