package sqlitemeta

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// One transaction of a purge takes as many rows as it may, also of what hangs
// on a manifest: until it ends no other one writes.
func TestPurgeTakesReferencesInBatches(t *testing.T) {
	life := meta.DefaultLifetimes
	life.Undelete = 0
	s, r := filled(t, Options{Lifetimes: life})
	const references, batch = 50, 10
	index := &oci.Manifest{MediaType: oci.MediaTypeImageIndex}
	for i := range references {
		d := oci.Descriptor{MediaType: "application/example", Digest: oci.DigestOf(oci.SHA256, fmt.Append(nil, i))}
		index.Blobs, index.Children = append(index.Blobs, d), append(index.Children, d)
	}
	payload := []byte("an index")
	put := meta.ManifestPut{
		Repo: r, Parsed: index, AllowMissingReferences: true, By: meta.Cause{Op: uuid.New()},
		Manifest: meta.Manifest{Digest: oci.DigestOf(oci.SHA256, payload), MediaType: index.MediaType, Payload: payload},
	}
	if err := s.PutManifest(t.Context(), put); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteRepository(t.Context(), meta.Cause{Op: uuid.New()}, r); err != nil {
		t.Fatal(err)
	}
	rows := func() int {
		var n int
		_, err := s.find(t.Context(), `
SELECT (SELECT count(*) FROM manifest_blobs) + (SELECT count(*) FROM manifest_children) + (SELECT count(*) FROM manifests)`, nil, &n)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := rows(); n <= 2*references {
		t.Fatalf("%d rows to begin with", n)
	}
	for before := rows(); ; {
		n, err := s.PurgeDeleted(t.Context(), batch)
		if err != nil {
			t.Fatal(err)
		}
		after := rows()
		if before-after > batch {
			t.Errorf("one call took %d rows, more than %d", before-after, batch)
		}
		if before = after; n == 0 {
			break
		}
	}
	if n := rows(); n != 0 {
		t.Errorf("%d rows are left", n)
	}
}

// A renewed upstream leaves as many tags as it had, which would all go with one
// manifest.
func TestPurgeTakesCachedTagsInBatches(t *testing.T) {
	s, r := filled(t, Options{})
	const tags, batch = 50, 10
	u, err := s.CreateUpstream(t.Context(), meta.Cause{Op: uuid.New()}, meta.Upstream{Tenant: r.Tenant, Slug: "ghcr"})
	if err != nil {
		t.Fatal(err)
	}
	payload := []byte("an image")
	put := meta.CachedPut{
		Repo: meta.Repo{Tenant: r.Tenant, Registry: u.Cache, Name: "app"}, Keep: time.Hour, Parsed: &oci.Manifest{},
		Manifest: meta.Manifest{Digest: oci.DigestOf(oci.SHA256, payload), MediaType: oci.MediaTypeImageManifest, Payload: payload},
	}
	for i := range tags {
		put.Tag = fmt.Sprint("v", i)
		if err := s.PutCached(t.Context(), put); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.UpdateUpstream(t.Context(), meta.Cause{Op: uuid.New()}, u, true); err != nil {
		t.Fatal(err)
	}
	left := func() int {
		var n int
		if _, err := s.find(t.Context(), `SELECT count(*) FROM cache_tags`, nil, &n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for before := left(); ; {
		n, err := s.PurgeDeleted(t.Context(), batch)
		if err != nil {
			t.Fatal(err)
		}
		after := left()
		if before-after > batch {
			t.Errorf("one call took %d tags, more than %d", before-after, batch)
		}
		if before = after; n == 0 {
			break
		}
	}
	if n := left(); n != 0 {
		t.Errorf("%d tags are left", n)
	}
}
