package pgmeta

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/dice"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// fetching does to one cache what nodes, janitors and operators do.
type fetching struct {
	s      *Store
	r      meta.Repo // of a hosted registry of the tenant
	images []meta.CachedPut
	index  []meta.CachedPut
}

// newFetching is a cache of images that share configs, and of indexes that
// share images; one index lists another.
func newFetching(t *testing.T, s *Store, r meta.Repo) *fetching {
	t.Helper()
	f := &fetching{s: s, r: r}
	if _, err := s.CreateUpstream(t.Context(), meta.Cause{Op: uuid.New()}, meta.Upstream{
		Tenant: r.Tenant, Slug: "hub", Settings: meta.UpstreamSettings{MaxBytes: 30},
	}); err != nil {
		t.Fatal(err)
	}
	for i := range 6 {
		put := imagePut(r, fmt.Sprint("config ", i/2), fmt.Sprint("v", i))
		f.images = append(f.images, meta.CachedPut{Manifest: put.Manifest, Parsed: put.Parsed})
	}
	list := func(children ...meta.CachedPut) meta.CachedPut {
		var p oci.Manifest
		payload := "{"
		for _, c := range children {
			p.Children = append(p.Children, oci.Descriptor{Digest: c.Manifest.Digest})
			payload += c.Manifest.Digest.String()
		}
		m := meta.Manifest{Digest: digestOf(payload), MediaType: oci.MediaTypeImageIndex, Payload: []byte(payload)}
		return meta.CachedPut{Manifest: m, Parsed: &p}
	}
	f.index = []meta.CachedPut{list(f.images[0:3]...), list(f.images[2:5]...)}
	f.index = append(f.index, list(f.index[0], f.images[5]))
	return f
}

// cached is the repository where it is now.
func (f *fetching) cached(ctx context.Context, d *rand.Rand) (meta.Repo, error) {
	u, err := f.s.FindUpstream(ctx, f.r.Tenant, "hub")
	return meta.Repo{Tenant: f.r.Tenant, Registry: u.Cache, Name: fmt.Sprint("n", d.IntN(2))}, err
}

func (f *fetching) fill(ctx context.Context, r meta.Repo, content string) error {
	u, err := f.s.CreateUpload(ctx, r, oci.SHA256)
	if err != nil {
		return err
	}
	if u, err = f.s.AdvanceUpload(ctx, u, blob.Progress{Offset: int64(len(content))}); err != nil {
		return err
	}
	if u, err = f.s.SealUpload(ctx, u, digestOf(content)); err != nil {
		return err
	}
	_, err = f.s.CommitUpload(ctx, meta.Cause{}, u, false)
	return err
}

// change gives the upstream other settings, whatever others do meanwhile.
func (f *fetching) change(ctx context.Context, bytes int64, renew bool) error {
	u, err := f.s.FindUpstream(ctx, f.r.Tenant, "hub")
	if err != nil {
		return err
	}
	u.Version, u.Settings = 0, meta.UpstreamSettings{MaxBytes: bytes}
	_, err = f.s.UpdateUpstream(ctx, meta.Cause{Op: uuid.New()}, u, renew)
	return err
}

// step does one thing. What is not there is no error.
func (f *fetching) step(ctx context.Context, d *rand.Rand) error {
	r, err := f.cached(ctx, d)
	if err != nil {
		return err
	}
	all := append(append([]meta.CachedPut{}, f.images...), f.index...)
	p := all[d.IntN(len(all))]
	p.Repo, p.Keep = r, time.Duration(d.IntN(200))*time.Millisecond
	tag := fmt.Sprint("t", d.IntN(3))
	switch d.IntN(16) {
	case 0, 1, 2, 3:
		p.Tag = tag
		err = f.s.PutCached(ctx, p)
	case 4:
		err = f.s.PutCached(ctx, p)
	case 5, 6:
		err = f.fill(ctx, r, fmt.Sprint("config ", d.IntN(3)))
	case 7:
		err = f.s.ConfirmCachedTag(ctx, r, tag, p.Manifest.Digest)
	case 8:
		err = f.s.DropCachedTag(ctx, r, tag)
	case 9:
		var pulls []meta.CachedPull
		for _, p := range all {
			if d.IntN(2) == 0 {
				pulls = append(pulls, meta.CachedPull{Repo: r, Digest: p.Manifest.Digest, Keep: p.Keep + time.Duration(d.IntN(200))*time.Millisecond})
			}
		}
		err = f.s.RecordPulls(ctx, pulls)
	case 10:
		_, err = f.s.LinkBlob(ctx, r, digestOf(fmt.Sprint("config ", d.IntN(3))))
	case 11:
		ref := []oci.Reference{{Tag: tag}, {Digest: p.Manifest.Digest}, {}}[d.IntN(3)]
		err = f.s.PurgeCached(ctx, meta.Cause{Op: uuid.New()}, r, ref)
	case 12:
		if d.IntN(10) == 0 {
			err = f.change(ctx, int64(d.IntN(40)), d.IntN(2) == 0)
		}
	default:
		err = f.sweep(ctx)
	}
	if fault.KindOf(err) == fault.NotFound {
		return nil
	}
	return err
}

// sweep is one round of the janitor.
func (f *fetching) sweep(ctx context.Context) error {
	for _, phase := range []func(context.Context, int) (int, error){
		f.s.EvictCached, f.s.ExpireCached, f.s.PurgeDeleted, f.s.UnlinkBlobs, f.s.DropBlobs,
	} {
		if _, err := phase(ctx, 5); err != nil {
			return err
		}
	}
	return nil
}

// TestCachesAtRandom lets nodes, janitors and operators meet in two repositories
// of a cache whose content is kept for moments. No call fails, none deadlocks,
// and no invariant is broken.
func TestCachesAtRandom(t *testing.T) {
	url := migrated(t)
	t.Cleanup(func() { wantDeadlocks(t, url, 0) })
	s, r := filled(t, Options{URL: url})
	f := newFetching(t, s, r)
	seed := dice.Seed(t)
	for range dice.Count(t, 4, 400) {
		var workers sync.WaitGroup
		for w := range 8 {
			d := rand.New(rand.NewPCG(seed, uint64(w)))
			workers.Go(func() {
				for range 60 {
					if err := f.step(t.Context(), d); err != nil {
						t.Error(err)
					}
				}
			})
		}
		workers.Wait()
		seed++
		if found := findings(t, s); len(found) != 0 {
			t.Fatalf("findings: %q", found)
		}
		var lost int
		err := s.pool.QueryRow(t.Context(), `SELECT count(*) FROM repositories r JOIN registries g ON g.tenant_id = r.tenant_id AND g.id = r.registry_id
			WHERE g.upstream_id IS NOT NULL AND r.state = 'active' AND r.listed <> EXISTS (SELECT FROM manifests m WHERE m.tenant_id = r.tenant_id AND m.repo_id = r.id)`).Scan(&lost)
		if err != nil || lost != 0 {
			t.Errorf("%d repositories are listed wrongly, %v", lost, err)
		}
	}
	until := time.Now().Add(time.Minute)
	for {
		if err := f.sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		var left int
		if err := s.pool.QueryRow(t.Context(), `SELECT count(*) FROM manifests WHERE expire_at IS NOT NULL`).Scan(&left); err != nil {
			t.Fatal(err)
		}
		if left == 0 {
			break
		}
		if time.Now().After(until) {
			t.Fatalf("%d manifests never expire", left)
		}
	}
}
