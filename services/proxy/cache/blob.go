package cache

import (
	"context"
	"errors"

	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/upstream"
	"github.com/berth-registry/berth/services/internal/respond"
	"github.com/berth-registry/berth/services/proxy/fetch"
)

// Naming finds a cached manifest that names the content, and returns the size in
// that manifest, in bytes; -1 if it has none.
func (r *Repository) Naming(ctx context.Context, d oci.Digest) (int64, error) {
	m, err := r.caches.Meta.FindNaming(ctx, r.Repo, d)
	if err != nil {
		return -1, err
	}
	parsed, err := oci.ParseManifest(m.MediaType, m.Payload)
	if err != nil {
		return -1, nil //nolint:nilerr // it was parsed before it was stored
	}
	for _, list := range [][]oci.Descriptor{parsed.Blobs, parsed.Children} {
		for _, c := range list {
			if c.Digest == d {
				return c.Size, nil
			}
		}
	}
	return -1, nil
}

// HasBlob reports whether the cache has a blob, as far as it knows whole.
func (r *Repository) HasBlob(ctx context.Context, d oci.Digest) (bool, error) {
	b, err := r.caches.Meta.FindBlob(ctx, r.Repo, d)
	if notStored(err) {
		return false, nil
	}
	return err == nil && !b.Suspect, chain.Internal(err)
}

// Scarce reports whether the upstream said that little is left of its budget.
func (r *Repository) Scarce() bool { return r.client.ListStretch() > 1 }

// Blob opens a blob that is not stored: it joins or begins its fetch. The bytes may
// still be in flight. size is from a manifest; -1 if not known.
func (r *Repository) Blob(ctx context.Context, d oci.Digest, size int64) (respond.OpenBlobResponse, error) {
	what := blobKey(d)
	if r.CacheOnly || r.isAbsent(what) {
		return respond.OpenBlobResponse{}, chain.ErrNotHere
	}
	linked, err := r.link(ctx, d)
	if err == nil && !linked.Suspect {
		var opened respond.OpenBlobResponse
		if opened, err = r.caches.Blobs.Open(ctx, linked, false, ""); err == nil || !errors.Is(err, respond.ErrContentLost) {
			opened.Cached = true
			return opened, chain.Internal(err)
		}
	} else if err != nil && !errors.Is(err, errUnknown) {
		return respond.OpenBlobResponse{}, err
	}
	content, err := r.caches.Fetches.Open(ctx, fetch.Target{Repo: r.Repo, Digest: d, Size: size, Hops: r.hops}, r.source(d, size))
	if err != nil {
		return respond.OpenBlobResponse{}, fetchFailure(r.noteMissing(ctx, what, d, err))
	}
	return respond.OpenBlobResponse{Blob: meta.Blob{Digest: d, Size: content.Size()}, Content: content}, nil
}

// source downloads a blob from the upstream.
func (r *Repository) source(d oci.Digest, size int64) fetch.Source {
	download := r.client.Download(r.Repo.Name, d, size)
	return func(ctx context.Context, from int64) (fetch.Part, error) {
		body, err := download.Open(ctx, from)
		r.asked()
		if err != nil {
			return fetch.Part{}, err
		}
		return fetch.Part{Body: body, From: body.From, Size: body.Size}, nil
	}
}

// fetchFailure marks failures of this deployment as internal, and leaves those of
// the upstream unchanged.
func fetchFailure(err error) error {
	var remote *upstream.Error
	if errors.As(err, &remote) || fault.KindOf(err) == fault.BadUpstream {
		return err
	}
	return chain.Internal(err)
}

// link links a blob that this upstream has sent under another name, if a HEAD finds
// it under this name, too: most images share their lowest layers. For a blob that
// it never sent, a HEAD proves nothing (contract row S70). After another password, the
// HEAD also proves the name, which may have the blob (T59). It returns errUnknown if the
// blob must be fetched.
func (r *Repository) link(ctx context.Context, d oci.Digest) (meta.Blob, error) {
	sent, err := r.caches.Meta.WasSent(ctx, r.Repo, d)
	switch {
	case err != nil:
		return meta.Blob{}, chain.Internal(err)
	case !sent && !r.unproved():
		return meta.Blob{}, errUnknown
	}
	return singleFlight(ctx, r, "link "+d.String(), func(ctx context.Context) (meta.Blob, error) {
		if b, err := r.caches.Meta.FindBlob(ctx, r.Repo, d); err == nil {
			return b, nil
		}
		if _, err := r.client.HasBlob(ctx, r.Repo.Name, d); err != nil {
			return meta.Blob{}, errUnknown // a GET says why
		}
		b, err := r.caches.Meta.LinkSent(ctx, r.Repo, d)
		if notStored(err) || fault.KindOf(err) == fault.Full {
			err = errUnknown
		}
		return b, chain.Internal(err)
	})
}

// StatBlob asks the upstream whether it has a blob, without fetching it.
func (r *Repository) StatBlob(ctx context.Context, d oci.Digest) (meta.Blob, error) {
	what := statKey(d)
	if r.CacheOnly || r.isAbsent(what) {
		return meta.Blob{}, chain.ErrNotHere
	}
	size, err := singleFlight(ctx, r, what, func(ctx context.Context) (int64, error) {
		return r.client.HasBlob(ctx, r.Repo.Name, d)
	})
	r.noteAbsence(what, err)
	return meta.Blob{Digest: d, Size: size}, err
}
