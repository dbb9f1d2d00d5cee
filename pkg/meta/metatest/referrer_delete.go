package metatest

import (
	"fmt"
	"sync"
	"testing"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// cascade is a subject with many referrers.
type cascade struct {
	world
	repo      meta.Repo
	config    meta.Blob
	image     meta.ManifestPut
	referrers []meta.ManifestPut
}

func newCascade(t *testing.T, open Open, n int) cascade {
	t.Helper()
	c := cascade{world: newWorld(t, open)}
	c.repo = c.world.repo("app")
	c.config = c.push(c.repo, "config")
	c.image = c.world.image(nil, c.config)
	c.put(c.repo, c.image, "v1")
	for i := range n {
		c.referrers = append(c.referrers, c.referrerOf(c.image.Manifest, fmt.Sprint(i)))
		c.put(c.repo, c.referrers[i])
	}
	return c
}

func (c cascade) referrerOf(m meta.Manifest, text string) meta.ManifestPut {
	c.t.Helper()
	return c.artifact(descriptor(m), "application/sbom", map[string]string{"text": text}, c.config)
}

// abandon deletes the subject and does none of the steps that follow, as when the
// process is killed between two transactions.
func (c cascade) abandon() {
	c.t.Helper()
	c.Store.Quiesce()
	c.must(c.Store.DeleteManifest(c.t.Context(), meta.ManifestDelete{Repo: c.repo, Digest: c.image.Manifest.Digest, By: cause(), Referrers: true}))
}

// left are the referrers of the subject that are there.
func (c cascade) left() map[oci.Digest]bool {
	c.t.Helper()
	found := map[oci.Digest]bool{}
	page := meta.Page{Size: 100}
	for {
		list, err := c.Store.ListReferrers(c.t.Context(), c.repo, c.image.Manifest.Digest, "", page)
		c.must(err)
		if len(list) == 0 {
			return found
		}
		for _, r := range list {
			found[r.Digest] = true
			page.After = r.Digest.String()
		}
	}
}

// finish lets the janitor do what is left, with fsck after each step.
func (c cascade) finish() {
	c.t.Helper()
	for {
		n, err := c.Store.PurgeDeleted(c.t.Context(), 100)
		c.must(err)
		c.consistent()
		if n == 0 {
			return
		}
	}
}

// testReferrerDeletion plays deletions of a subject whose referrers go with it, in
// steps.
func testReferrerDeletion(t *testing.T, open Open) {
	t.Run("S31 continues after the request ended", func(t *testing.T) {
		c := newCascade(t, open, 150)
		nested := c.referrerOf(c.referrers[7].Manifest, "nested")
		c.put(c.repo, nested, "sig")
		c.abandon()
		if got := c.tagged(c.repo, "v1"); got != "" {
			t.Errorf("v1 is %s", got)
		}
		c.consistent()
		c.finish()
		if left := c.left(); len(left) != 0 {
			t.Errorf("%d referrers are left", len(left))
		}
		c.sameTags(c.repo)
		// And nothing remembers it: what is pushed now goes with the next deletion.
		c.put(c.repo, c.image)
		c.put(c.repo, c.referrers[0])
		c.must(c.Store.DeleteManifest(t.Context(), meta.ManifestDelete{Repo: c.repo, Digest: c.image.Manifest.Digest, By: cause(), Referrers: true}))
		c.finish()
		if left := c.left(); len(left) != 0 {
			t.Errorf("%d referrers are left of the second deletion", len(left))
		}
	})
	t.Run("S31 keeps what is promoted meanwhile", func(t *testing.T) {
		c := newCascade(t, open, 3)
		signature, nested := c.referrers[1], c.referrerOf(c.referrers[1].Manifest, "nested")
		c.put(c.repo, nested)
		c.abandon()
		promoted := c.image
		promoted.Requires = []oci.Digest{signature.Manifest.Digest, nested.Manifest.Digest}
		c.must(c.tryPut(c.repo, promoted, "v1"))
		c.finish()
		if left := c.left(); len(left) != 1 || !left[signature.Manifest.Digest] {
			t.Errorf("%v are left, want the one that the tag requires", left)
		}
		c.there(c.repo, nested)
	})
	t.Run("S31 keeps what is pushed meanwhile", func(t *testing.T) {
		c := newCascade(t, open, 120)
		nested := c.referrerOf(c.referrers[3].Manifest, "nested")
		c.put(c.repo, nested)
		c.abandon()
		again := c.referrers[60]
		fresh := c.referrerOf(c.image.Manifest, "pushed later")
		c.put(c.repo, again)
		c.put(c.repo, fresh)
		c.put(c.repo, nested)
		c.put(c.repo, c.image, "v2")
		named := c.referrers[90]
		c.put(c.repo, c.index(named.Manifest), "index")
		c.finish()
		left := c.left()
		for what, m := range map[string]meta.ManifestPut{"pushed again": again, "new": fresh, "named by an index": named} {
			if !left[m.Manifest.Digest] {
				t.Errorf("the referrer that was %s is gone", what)
			}
		}
		if len(left) != 3 {
			t.Errorf("%d referrers are left, want 3", len(left))
		}
		_, err := c.Store.FindManifest(t.Context(), c.repo, oci.Reference{Digest: nested.Manifest.Digest})
		c.must(err)
		if got := c.tagged(c.repo, "v2"); got != c.image.Manifest.Digest {
			t.Errorf("v2 is %q", got)
		}
	})
	t.Run("S31 of a repository that is deleted goes with it", func(t *testing.T) {
		c := newCascade(t, open, 30)
		c.abandon()
		c.put(c.repo, c.referrers[2])
		c.must(c.Store.DeleteRepository(t.Context(), cause(), c.repo))
		c.finish()
		c.collectAll()
		c.consistent()
	})
	t.Run("S31 loses no push to concurrent deletions", func(t *testing.T) {
		c := newCascade(t, open, 60)
		var pushed sync.Map
		var wg sync.WaitGroup
		for worker := range 4 {
			wg.Go(func() {
				for i := worker; i < len(c.referrers); i += 8 {
					p := c.referrers[i]
					p.Repo, p.By = c.repo, cause()
					if err := c.Store.PutManifest(t.Context(), p); err != nil {
						t.Error(err)
					}
					pushed.Store(p.Manifest.Digest, true)
				}
			})
		}
		wg.Go(func() {
			del := meta.ManifestDelete{Repo: c.repo, Digest: c.image.Manifest.Digest, By: cause(), Referrers: true}
			if err := c.Store.DeleteManifest(t.Context(), del); err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
		c.finish()
		// What was pushed is there or was deleted by the request that ran beside it;
		// what was not pushed is gone.
		for d := range c.left() {
			if _, ok := pushed.Load(d); !ok {
				t.Errorf("%s was not pushed again and is there", d)
			}
		}
		for _, p := range c.referrers {
			c.put(c.repo, p)
		}
		c.finish()
		if left := c.left(); len(left) != len(c.referrers) {
			t.Errorf("%d referrers of %d are there after they were pushed", len(left), len(c.referrers))
		}
	})
}
