package proxy

import (
	"context"
	"io"
	"time"

	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/pause"
	"github.com/berth-registry/berth/services/internal/policy"
	"github.com/berth-registry/berth/services/proxy/cache"
)

const (
	// mostNested is how deep an index may list others.
	mostNested = 4
	// mostWalked is how many manifests and blobs one reference may name.
	mostWalked = 20_000
	// tagsPage is how many tags are read at a time.
	tagsPage = 1000
	// storedWithin is how long a blob may take to be stored after its last byte came.
	storedWithin = 30 * time.Second
	// scarceDelay is how long a prefetch leaves an upstream to pulls of which little is left.
	scarceDelay = 5 * time.Minute
)

// Prefetch stores in the cache what a pull of the reference would fetch: the manifest, those
// of the prefetch's platforms below it, and their blobs. What is stored is not fetched again.
// It returns the digest of the manifest, once that is known, and how many bytes of blobs came.
func (s *Service) Prefetch(ctx context.Context, p meta.Prefetch, name string, ref oci.Reference) (oci.Digest, int64, error) {
	r, err := s.offered(ctx, meta.CachedCopy{Tenant: p.Tenant, TenantSlug: p.TenantSlug, Upstream: p.Upstream, Repository: name})
	if err != nil {
		return "", 0, err
	}
	if r.Scarce() {
		return "", 0, scarce(p)
	}
	f := &prefetching{repository: r, platforms: p.Platforms, seen: map[oci.Digest]bool{}}
	var m cache.Manifest
	if ref.Digest != "" {
		m, err = f.byDigest(ctx, ref.Digest)
	} else if m, err = r.Tag(ctx, ref.Tag); err == nil && m.Stale {
		err = fault.New(fault.Unavailable, fault.UnavailableReason, "upstream %q does not say whether tag %s is unchanged", p.Upstream, ref.Tag)
	}
	if err != nil {
		return "", 0, err
	}
	err = f.manifest(ctx, m, 0)
	return m.Digest, f.bytes, err
}

// PrefetchTags is the part after one tag of the upstream's list of a repository's tags, and
// whether there may be more. A list of which the upstream did not give all is an error.
func (s *Service) PrefetchTags(ctx context.Context, p meta.Prefetch, name, after string) ([]string, bool, error) {
	r, err := s.offered(ctx, meta.CachedCopy{Tenant: p.Tenant, TenantSlug: p.TenantSlug, Upstream: p.Upstream, Repository: name})
	if err != nil {
		return nil, false, err
	}
	if r.Scarce() {
		return nil, false, scarce(p)
	}
	tags, fresh, err := r.Tags(ctx, meta.Page{After: after, Size: tagsPage}, true)
	if err == nil && fresh.Incomplete {
		err = fault.New(fault.Unavailable, fault.UnavailableReason, "upstream %q does not list its tags of %s", p.Upstream, name)
	}
	return tags, len(tags) == tagsPage, err
}

func scarce(p meta.Prefetch) error {
	return fault.New(fault.TooMany, fault.TooManyRequests,
		"upstream %q allows few more requests for now, and they are left to pulls", p.Upstream).WithRetryAfter(scarceDelay)
}

// prefetching is the walk through a reference.
type prefetching struct {
	repository *cache.Repository
	platforms  []string
	seen       map[oci.Digest]bool
	bytes      int64
}

func (f *prefetching) byDigest(ctx context.Context, d oci.Digest) (cache.Manifest, error) {
	m, err := f.repository.StoredManifest(ctx, d)
	if fault.KindOf(err) == fault.NotFound {
		m, err = f.repository.Manifest(ctx, d)
	}
	return m, err
}

// walked says whether the walk came by a digest before, and fails where there are too many.
func (f *prefetching) walked(d oci.Digest) (bool, error) {
	if f.seen[d] {
		return true, nil
	}
	if len(f.seen) == mostWalked {
		return false, fault.New(fault.Invalid, fault.ManifestInvalid, "the reference names more than %d manifests and blobs", mostWalked)
	}
	f.seen[d] = true
	return false, nil
}

// manifest stores what a manifest names. A manifest for which the cache had no room is an
// error: nothing keeps its blobs.
func (f *prefetching) manifest(ctx context.Context, m cache.Manifest, depth int) error {
	if again, err := f.walked(m.Digest); again || err != nil {
		return err
	}
	if _, err := f.repository.StoredManifest(ctx, m.Digest); err != nil {
		if fault.KindOf(err) == fault.NotFound {
			return notKept("manifest", m.Digest)
		}
		return err
	}
	parsed, err := oci.ParseManifest(m.MediaType, m.Payload)
	if err != nil {
		return chain.Internal(err) // it was parsed before it was stored
	}
	if err := f.children(ctx, m, parsed, depth); err != nil {
		return err
	}
	for _, b := range parsed.Blobs {
		if !b.Foreign() {
			if err := f.blob(ctx, b); err != nil {
				return err
			}
		}
	}
	return nil
}

// children stores the manifests of an index that are of the platforms, or of none.
func (f *prefetching) children(ctx context.Context, m cache.Manifest, parsed *oci.Manifest, depth int) error {
	if len(parsed.Children) == 0 {
		return nil
	}
	if depth == mostNested {
		return fault.New(fault.Invalid, fault.ManifestInvalid, "indexes are nested more than %d deep", mostNested)
	}
	kept, err := policy.OfPlatforms(m.Payload, f.platforms)
	if err != nil {
		return err
	}
	for _, c := range parsed.Children {
		if !kept[c.Digest] {
			continue
		}
		child, err := f.byDigest(ctx, c.Digest)
		if err == nil {
			err = f.manifest(ctx, child, depth+1)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// blob fetches a blob that is not stored, and waits until it is.
func (f *prefetching) blob(ctx context.Context, d oci.Descriptor) error {
	if again, err := f.walked(d.Digest); again || err != nil {
		return err
	}
	stored, err := f.repository.HasBlob(ctx, d.Digest)
	if err != nil || stored {
		return err
	}
	opened, err := f.repository.Blob(ctx, d.Digest, d.Size)
	if err != nil {
		return err
	}
	if opened.Cached { // it was sent under another name
		return opened.Content.Close()
	}
	n, err := io.Copy(io.Discard, opened.Content)
	f.bytes += n
	if closed := opened.Content.Close(); err == nil {
		err = closed
	}
	for end := time.Now().Add(storedWithin); err == nil && !stored; {
		stored, err = f.repository.HasBlob(ctx, d.Digest)
		if err == nil && !stored && time.Now().After(end) {
			err = notKept("blob", d.Digest)
		}
		if err == nil && !stored {
			err = pause.Between(ctx, 10*time.Millisecond, 50*time.Millisecond)
		}
	}
	return err
}

func notKept(what string, d oci.Digest) error {
	return fault.New(fault.Full, fault.UnavailableReason, "the cache has no room for the %s %s", what, d)
}
