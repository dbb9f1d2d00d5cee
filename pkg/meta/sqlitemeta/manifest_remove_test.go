package sqlitemeta

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

func mustPut(t *testing.T, s *Store, put meta.ManifestPut) meta.ManifestPut {
	t.Helper()
	put.By.Op = uuid.New()
	if err := s.PutManifest(t.Context(), put); err != nil {
		t.Fatal(err)
	}
	return put
}

func deleting(put meta.ManifestPut) meta.ManifestDelete {
	return meta.ManifestDelete{Repo: put.Repo, Digest: put.Manifest.Digest, By: meta.Cause{Op: uuid.New()}}
}

func wantGone(t *testing.T, s *Store, put meta.ManifestPut) {
	t.Helper()
	if _, err := s.FindManifest(context.Background(), put.Repo, oci.Reference{Digest: put.Manifest.Digest}); !fault.Is(err, fault.ManifestUnknown) {
		t.Errorf("the manifest: %v", err)
	}
	if found := findings(t, s); len(found) > 0 {
		t.Error(found)
	}
}

// TestS37_LargeManifestsAreDeletedInSteps: of 10,000 references, as a referrer of
// what is deleted, with 10,000 children, and named by 10,000 indexes.
func TestS37_LargeManifestsAreDeletedInSteps(t *testing.T) {
	s, r := filled(t, Options{})
	blobs := holding(t, s, r, mostReferences)
	put := putOf(r, blobs, "large")
	holdsTheWriterShortly(t, s, "the deletion of 10,000 references", nothing, func() {
		mustPut(t, s, put)
		if err := s.DeleteManifest(t.Context(), deleting(put)); err != nil {
			t.Error(err)
		}
	})
	wantGone(t, s, put)

	subject := putOf(r, blobs[:1], "subject")
	referrer := putOf(r, blobs, "referrer")
	referrer.Tags = nil
	referrer.Parsed.Subject = &oci.Descriptor{MediaType: oci.MediaTypeImageManifest, Digest: subject.Manifest.Digest}
	holdsTheWriterShortly(t, s, "the deletion of a referrer of 10,000 references", nothing, func() {
		mustPut(t, s, subject)
		mustPut(t, s, referrer)
		del := deleting(subject)
		del.Referrers = true
		if err := s.DeleteManifest(t.Context(), del); err != nil {
			t.Error(err)
		}
		for work := 1; work > 0; { // on a slow machine some is left to the janitor
			var err error
			if work, err = s.PurgeDeleted(t.Context(), 100); err != nil {
				t.Fatal(err)
			}
		}
	})
	wantGone(t, s, referrer)

	index := putOf(r, blobs, "index")
	index.Manifest.MediaType = oci.MediaTypeImageIndex
	index.Parsed = &oci.Manifest{MediaType: oci.MediaTypeImageIndex, Children: blobs}
	index.AllowMissingReferences = true
	holdsTheWriterShortly(t, s, "an index of 10,000 children", nothing, func() {
		mustPut(t, s, index)
		if err := s.DeleteManifest(t.Context(), deleting(index)); err != nil {
			t.Error(err)
		}
	})
	wantGone(t, s, index)

	child := putOf(r, blobs[:1], "child")
	prepare := func() {
		mustPut(t, s, child)
		err := s.write(t.Context(), func(tx *tx) error {
			repo, err := tx.repository(r, hosted)
			for i := 0; i < mostReferences && err == nil; i++ {
				parent := oci.DigestOf(oci.SHA256, fmt.Append(nil, "parent", i)).Bytes()
				if _, err = tx.exec(`INSERT INTO manifests (tenant_id, repo_id, digest, media_type, size, artifact_type, annotations, created_at, payload, refs)
					VALUES (?1, ?2, ?3, '', 0, '', '{}', 0, x'', 1) ON CONFLICT DO NOTHING`, r.Tenant, repo.id, parent); err == nil {
					_, err = tx.exec(`INSERT INTO manifest_children (tenant_id, repo_id, parent, child, held) VALUES (?1, ?2, ?3, ?4, 1)
						ON CONFLICT (tenant_id, repo_id, parent, child) DO UPDATE SET held = 1`, r.Tenant, repo.id, parent, child.Manifest.Digest.Bytes())
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	holdsTheWriterShortly(t, s, "the forced deletion of what 10,000 indexes name", prepare, func() {
		del := deleting(child)
		del.Force = true
		if err := s.DeleteManifest(t.Context(), del); err != nil {
			t.Error(err)
		}
	})
	wantGone(t, s, child)
}

// TestS37_ALargeDeletionThatStopsIsFinished by the janitor of the next process; and
// a push of the same manifest finishes it, too, before it is done.
func TestS37_ALargeDeletionThatStopsIsFinished(t *testing.T) {
	s, r := filled(t, Options{})
	blobs := holding(t, s, r, 4*removeFrom)
	put := mustPut(t, s, putOf(r, blobs, "large"))
	stop := func() {
		s.Quiesce()
		if err := s.DeleteManifest(t.Context(), deleting(put)); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("a deletion that is not done: %v", err)
		}
		if found := findings(t, s); len(found) > 0 {
			t.Error(found)
		}
		dir := s.opts.Dir
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, Options{Dir: dir})
	}
	stop()
	for step := 0; ; step++ {
		n, err := s.PurgeDeleted(t.Context(), 100)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			break
		}
		if found := findings(t, s); step < 5 && len(found) > 0 {
			t.Error(found)
		}
	}
	wantGone(t, s, put)

	mustPut(t, s, put)
	stop()
	if _, err := s.PurgeDeleted(t.Context(), 100); err != nil { // one step of many
		t.Fatal(err)
	}
	index := putOf(r, []oci.Descriptor{{MediaType: put.Manifest.MediaType, Digest: put.Manifest.Digest}}, "index")
	index.Parsed = &oci.Manifest{MediaType: oci.MediaTypeImageIndex, Children: index.Parsed.Blobs}
	if err := s.PutManifest(t.Context(), index); !fault.Is(err, fault.ManifestBlobUnknown) {
		t.Errorf("an index of what is being deleted: %v", err)
	}
	mustPut(t, s, put)
	wantAllHeld := func() {
		t.Helper()
		var links, held int
		if _, err := s.find(t.Context(), `SELECT count(*), count(held_repo_id) FROM manifest_blobs WHERE manifest = ?1`,
			[]any{put.Manifest.Digest.Bytes()}, &links, &held); err != nil || links != len(blobs) || held != links {
			t.Errorf("%d links, %d held, of %d, %v", links, held, len(blobs), err)
		}
	}
	wantAllHeld()
	if found, err := s.FindManifest(t.Context(), r, oci.Reference{Tag: "large"}); err != nil || found.Digest != put.Manifest.Digest {
		t.Errorf("%+v, %v", found.Digest, err)
	}
	// What is left is to take it out of the trash, which changes nothing of it.
	for n := 1; n > 0; {
		var err error
		if n, err = s.PurgeDeleted(t.Context(), 100); err != nil {
			t.Fatal(err)
		}
	}
	wantAllHeld()
	if found := findings(t, s); len(found) > 0 {
		t.Error(found)
	}
}

// TestS37_WhatIsPushedUponALargeManifestThatGoesStays: its referrers go with it, except
// for those that were pushed after its deletion was decided, few references or many.
func TestS37_WhatIsPushedUponALargeManifestThatGoesStays(t *testing.T) {
	for _, n := range []int{10, 4 * removeFrom} {
		for _, before := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d references, referrers before: %t", n, before), func(t *testing.T) {
				s, r := filled(t, Options{})
				blobs := holding(t, s, r, n)
				subject := mustPut(t, s, putOf(r, blobs, "large"))
				upon := func(tag string) meta.ManifestPut {
					put := putOf(r, blobs[:1], tag)
					put.Parsed.Subject = &oci.Descriptor{MediaType: oci.MediaTypeImageManifest, Digest: subject.Manifest.Digest}
					return put
				}
				old := upon("old")
				if before {
					mustPut(t, s, old)
				}
				s.Quiesce()
				del := deleting(subject)
				del.Referrers = true
				if err := s.DeleteManifest(t.Context(), del); err != nil && fault.KindOf(err) != fault.Unavailable {
					t.Fatal(err)
				}
				dir := s.opts.Dir
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				s = open(t, Options{Dir: dir})
				signature := mustPut(t, s, upon("signature"))
				for work := 1; work > 0; {
					var err error
					if work, err = s.PurgeDeleted(t.Context(), 100); err != nil {
						t.Fatal(err)
					}
				}
				wantGone(t, s, subject)
				wantGone(t, s, old)
				if found, err := s.FindManifest(t.Context(), r, oci.Reference{Tag: "signature"}); err != nil || found.Digest != signature.Manifest.Digest {
					t.Errorf("what was pushed after the deletion: %v", err)
				}
				var left int
				if _, err := s.find(t.Context(), `SELECT (SELECT count(*) FROM kept_referrers) + (SELECT count(*) FROM referrer_deletions)`, nil, &left); err != nil || left != 0 {
					t.Errorf("%d rows of the deletion are left, %v", left, err)
				}
			})
		}
	}
}

// TestS37_LargeCachedManifestsComeAndGoInSteps.
func TestS37_LargeCachedManifestsComeAndGoInSteps(t *testing.T) {
	now := newClock()
	s, r := filled(t, Options{Now: now.Now})
	u, err := s.CreateUpstream(t.Context(), meta.Cause{Op: uuid.New()}, meta.Upstream{Tenant: r.Tenant, Slug: "hub"})
	if err != nil {
		t.Fatal(err)
	}
	cache := meta.Repo{Tenant: r.Tenant, Registry: u.Cache, Name: "library/app"}
	var blobs []oci.Descriptor
	for i := range mostReferences {
		blobs = append(blobs, oci.Descriptor{MediaType: "application/example", Digest: oci.DigestOf(oci.SHA256, fmt.Append(nil, i))})
	}
	put := putOf(cache, blobs, "v1")
	fetched := meta.CachedPut{Repo: cache, Manifest: put.Manifest, Parsed: put.Parsed, Tag: "v1", Keep: time.Hour}
	holdsTheWriterShortly(t, s, "a cached manifest of 10,000 references", nothing, func() {
		if err := s.PutCached(t.Context(), fetched); err != nil {
			t.Fatal(err)
		}
		if naming, err := s.FindNaming(t.Context(), cache, blobs[len(blobs)-1].Digest); err != nil || naming.Digest != put.Manifest.Digest {
			t.Errorf("%v, %v", naming.Digest, err)
		}
		now.Advance(2 * time.Hour)
		for work := 1; work > 0; {
			var err error
			if work, err = s.ExpireCached(t.Context(), 1000); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.FindCachedTag(t.Context(), cache, "v1"); fault.KindOf(err) != fault.NotFound {
			t.Errorf("the tag: %v", err)
		}
		if err := s.PutCached(t.Context(), fetched); err != nil {
			t.Fatal(err)
		}
		if err := s.PurgeCached(t.Context(), meta.Cause{Op: uuid.New()}, cache, oci.Reference{Digest: put.Manifest.Digest}); err != nil {
			t.Fatal(err)
		}
	})
	wantGone(t, s, put)
}
