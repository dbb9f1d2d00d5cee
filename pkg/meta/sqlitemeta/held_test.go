package sqlitemeta

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

// longEnough is what S30 to S37 promise of every transaction.
const longEnough = slower * 100 * time.Millisecond

// holdsTheWriterShortly runs do and looks how long one transaction of it held the
// writer. The machine may be busy with other things, so the disk is left out, and a
// run that was too long is tried again: what is long by itself is so each time.
func holdsTheWriterShortly(t *testing.T, s *Store, what string, prepare, do func()) {
	t.Helper()
	if _, err := s.writer.conn.ExecContext(t.Context(), "PRAGMA synchronous = OFF"); err != nil {
		t.Fatal(err)
	}
	for try := 1; ; try++ {
		prepare()
		held := longestHold(s, do)
		t.Logf("%s holds the writer for %s", what, held)
		if held <= longEnough {
			return
		}
		if try == 6 {
			t.Errorf("%s holds the writer for %s", what, held)
			return
		}
	}
}

func longestHold(s *Store, do func()) time.Duration {
	done, longest := make(chan struct{}), make(chan time.Duration)
	go func() {
		var held time.Duration
		for {
			select {
			case <-done:
				longest <- held
				return
			case <-time.After(time.Millisecond):
				if at := s.writer.began.Load(); at != 0 {
					held = max(held, time.Since(time.Unix(0, at)))
				}
			}
		}
	}()
	do()
	close(done)
	return <-longest
}

func nothing() {}

// mostReferences is about as many as a manifest of 4 MiB has room for; a tenth under
// the race detector.
const mostReferences = 10_000 / slower

// holding makes blobs that a repository holds, as many pushes do.
func holding(t *testing.T, s *Store, r meta.Repo, n int) []oci.Descriptor {
	t.Helper()
	var blobs []oci.Descriptor
	for i := range n {
		blobs = append(blobs, oci.Descriptor{MediaType: "application/example", Digest: oci.DigestOf(oci.SHA256, fmt.Append(nil, "held ", i))})
	}
	err := s.write(t.Context(), func(tx *tx) error {
		repo, err := tx.repository(r, hosted)
		for i := 0; i < n && err == nil; i++ {
			incarnation, d := uuid.New(), blobs[i].Digest.Bytes()
			for _, row := range []struct {
				query string
				args  []any
			}{
				{`INSERT INTO objects (tenant_id, incarnation, state, size, created_at) VALUES (?1, ?2, 'L', 0, 0)`, []any{r.Tenant, incarnation[:]}},
				{`INSERT INTO blobs (tenant_id, digest, size, incarnation) VALUES (?1, ?2, 0, ?3)`, []any{r.Tenant, d, incarnation[:]}},
				{`INSERT INTO repo_blobs (tenant_id, repo_id, digest, keep_until) VALUES (?1, ?2, ?3, ?4)`, []any{r.Tenant, repo.id, d, tx.after(time.Hour)}},
			} {
				if _, err = tx.exec(row.query, row.args...); err != nil {
					break
				}
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return blobs
}

func putOf(r meta.Repo, blobs []oci.Descriptor, tag string) meta.ManifestPut {
	m := &oci.Manifest{MediaType: oci.MediaTypeImageManifest, Blobs: blobs}
	payload := fmt.Append(nil, tag, len(blobs), blobs[0].Digest)
	return meta.ManifestPut{
		Repo: r, Parsed: m, By: meta.Cause{Op: uuid.New()}, Tags: []string{tag},
		Manifest: meta.Manifest{Digest: oci.DigestOf(oci.SHA256, payload), MediaType: m.MediaType, Payload: payload},
	}
}

// setQuota limits the tenant that filled made.
func setQuota(t *testing.T, s *Store, quota int64) {
	t.Helper()
	acme, err := s.FindTenant(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	acme.Quota = quota
	if _, err := s.UpdateTenant(t.Context(), meta.Cause{Op: uuid.New()}, acme); err != nil {
		t.Fatal(err)
	}
}

// TestS35_ARefusedManifestHoldsTheWriterForAMoment, however many references it
// has: above the quota, and without what it names.
func TestS35_ARefusedManifestHoldsTheWriterForAMoment(t *testing.T) {
	s, r := filled(t, Options{})
	blobs := holding(t, s, r, mostReferences)
	lacking := append([]oci.Descriptor{{MediaType: "application/example", Digest: oci.DigestOf(oci.SHA256, []byte("lacking"))}}, blobs[1:]...)
	other := r
	other.Registry = tenant.RegistryID(1 << 40)
	for _, c := range []struct {
		name   string
		put    meta.ManifestPut
		quota  int64
		reason fault.Reason
	}{
		{"has no room", putOf(r, blobs, "full"), 1, fault.QuotaExceeded},
		{"lacks a reference", putOf(r, lacking, "lacking"), 0, fault.ManifestBlobUnknown},
		{"has no repository", putOf(other, blobs, "nowhere"), 0, fault.NameUnknown},
	} {
		setQuota(t, s, c.quota)
		holdsTheWriterShortly(t, s, "a manifest that "+c.name, nothing, func() {
			c.put.By.Op = uuid.New()
			if err := s.PutManifest(t.Context(), c.put); !fault.Is(err, c.reason) {
				t.Errorf("a manifest that %s: %v", c.name, err)
			}
		})
		if _, err := s.FindManifest(t.Context(), r, oci.Reference{Digest: c.put.Manifest.Digest}); !fault.Is(err, fault.ManifestUnknown) {
			t.Errorf("a manifest that %s is there: %v", c.name, err)
		}
	}
	setQuota(t, s, 0)
	put := putOf(r, blobs, "whole")
	holdsTheWriterShortly(t, s, "a manifest that is whole", nothing, func() {
		put.By.Op = uuid.New()
		if err := s.PutManifest(t.Context(), put); err != nil {
			t.Error(err)
		}
	})
	if found := findings(t, s); len(found) > 0 {
		t.Error(found)
	}
}

// TestS35_LinksAreComparedByName: a manifest that is put again gets the links that
// it lacks, also where it has as many as it names.
func TestS35_LinksAreComparedByName(t *testing.T) {
	s, r := filled(t, Options{})
	blobs := holding(t, s, r, aheadFrom+1)
	put := putOf(r, blobs, "again")
	if err := s.PutManifest(t.Context(), put); err != nil {
		t.Fatal(err)
	}
	other := oci.DigestOf(oci.SHA256, []byte("another"))
	err := s.write(t.Context(), func(tx *tx) error {
		_, err := tx.exec(`UPDATE manifest_blobs SET digest = ?1, held_repo_id = NULL WHERE manifest = ?2 AND digest = ?3`,
			other.Bytes(), put.Manifest.Digest.Bytes(), blobs[0].Digest.Bytes())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	put.By.Op = uuid.New()
	if err := s.PutManifest(t.Context(), put); err != nil {
		t.Fatal(err)
	}
	var held int
	if _, err := s.find(t.Context(), `SELECT count(held_repo_id) FROM manifest_blobs WHERE manifest = ?1`, []any{put.Manifest.Digest.Bytes()}, &held); err != nil || held != len(blobs) {
		t.Errorf("%d of %d references are held, %v", held, len(blobs), err)
	}
}
