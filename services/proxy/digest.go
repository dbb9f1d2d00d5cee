package proxy

import (
	"context"

	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// byDigest asks a chain for content by its digest: whoever has it has the same.
// So there are three rounds. First all are asked who need not be fetched from;
// then the upstream whose manifest named it, so that an image comes from one
// member as a whole (contract row E11); then all others in order.
type byDigest[T any] struct {
	*walk[T]
	digest  oci.Digest
	content string // what it is, for metrics: manifest or blob; empty: it is not counted
	// local finds it in a repository; u is nil in a hosted one.
	local func(ctx context.Context, r meta.Repo, u *meta.Upstream) (T, error)
	// fetch gets it from an upstream.
	fetch func(ctx context.Context, r remote, by named) (T, error)
}

// named is what a kept manifest says of the content.
type named struct {
	size int64 // in bytes; -1 when no kept manifest names it
}

func (b byDigest[T]) find(ctx context.Context, notHere error) (T, error) {
	b.walk.claimed = b.walk.claims(ctx) // looked up once for all rounds
	here, all := *b.walk, *b.walk

	here.remote = func(ctx context.Context, r remote) (T, error) {
		v, err := b.local(ctx, r.repo, r.upstream)
		if outcomeOf(err) == chain.NotHere {
			return v, errSkipped{"it is asked only for what nobody has already"}
		}
		if err == nil {
			r.counted(b.content, cacheHit)
		}
		return v, ours(err)
	}
	v, err := here.round(ctx)
	if outcomeOf(err) != chain.NotHere {
		return v, err
	}

	first, by, err := b.naming(ctx, here)
	if err != nil {
		return v, err
	}
	all.hosted = nil // the registries were asked
	said := errNotHere
	if first != nil {
		one := all
		one.chain.Members = []chain.Member{*first}
		one.remote = func(ctx context.Context, r remote) (T, error) {
			v, err := b.get(ctx, r, by)
			said = err
			return v, err
		}
		if v, err := one.round(ctx); outcomeOf(err) != chain.NotHere {
			return v, err
		}
	}
	all.remote = func(ctx context.Context, r remote) (T, error) {
		if r.member == first {
			var none T
			return none, said // where it stands in the order, it has its say
		}
		return b.get(ctx, r, named{size: -1})
	}
	return all.find(ctx, notHere)
}

// get is fetch, counted.
func (b byDigest[T]) get(ctx context.Context, r remote, by named) (T, error) {
	v, err := b.fetch(ctx, r, by)
	if err == nil {
		r.counted(b.content, cacheMiss)
	}
	return v, err
}

// round is run where others follow unless it finds something: only then its
// members are noted.
func (w *walk[T]) round(ctx context.Context) (T, error) {
	var said []func()
	if note := w.note; note != nil {
		w.note = func(m *chain.Member, v T, err error) { said = append(said, func() { note(m, v, err) }) }
	}
	v, err := w.run(ctx)
	if outcomeOf(err) != chain.NotHere {
		for _, tell := range said {
			tell()
		}
	}
	return v, err
}

// naming finds the first upstream of which a manifest is kept that names the
// content.
func (b byDigest[T]) naming(ctx context.Context, w walk[T]) (*chain.Member, named, error) {
	var found *chain.Member
	by := named{size: -1}
	w.hosted, w.note = nil, nil
	w.remote = func(ctx context.Context, r remote) (T, error) {
		var none T
		m, err := r.meta.FindNaming(ctx, r.repo, b.digest)
		if err != nil {
			return none, ours(err)
		}
		by = named{size: sizeIn(m, b.digest)}
		found = r.member
		return none, nil
	}
	_, err := w.run(ctx)
	if outcomeOf(err) == chain.NotHere {
		err = nil
	}
	return found, by, err
}

// sizeIn is the size that a manifest gives the content; -1 when it gives none.
func sizeIn(m meta.Manifest, d oci.Digest) int64 {
	parsed, err := oci.ParseManifest(m.MediaType, m.Payload)
	if err != nil {
		return -1 // it was parsed before it was kept
	}
	for _, list := range [][]oci.Descriptor{parsed.Blobs, parsed.Children} {
		for _, c := range list {
			if c.Digest == d {
				return c.Size
			}
		}
	}
	return -1
}
