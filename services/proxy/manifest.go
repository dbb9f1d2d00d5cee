package proxy

import (
	"context"
	"fmt"
	"time"

	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/upstream"
	"github.com/berth-registry/berth/services/internal/respond"
)

// GetManifest asks the chain for a manifest by tag or digest.
type GetManifest struct {
	Ask
	Reference oci.Reference
}

// Manifest is a manifest with how sure it is.
type Manifest struct {
	meta.Manifest
	Cached    bool          // the upstream was not asked just now
	CheckedAt time.Time     // when the upstream said so; zero for what a registry hosts, and by digest
	Stale     bool          // older than it should be: the upstream is out
	Age       time.Duration // since CheckedAt
}

// GetManifest finds the manifest at the first member that has it.
func (s *Service) GetManifest(ctx context.Context, req GetManifest) (Manifest, error) {
	ctx, asked, err := s.follow(ctx, req.Ask)
	if err != nil {
		return Manifest{}, err
	}
	return s.manifest(ctx, asked, req.Reference, nil)
}

type noteManifest = func(m *chain.Member, v Manifest, err error)

func (s *Service) manifest(ctx context.Context, a asked, ref oci.Reference, note noteManifest) (Manifest, error) {
	notHere := fault.New(fault.NotFound, fault.ManifestUnknown, "manifest %s is not known to this registry, nor to those that it asks", ref).
		WithDetail(map[string]string{"reference": ref.String()})
	w := &walk[Manifest]{
		Service: s, asked: a, note: note,
		hosted: func(ctx context.Context, r meta.Repo) (Manifest, error) {
			m, err := s.meta.FindManifest(ctx, r, ref)
			return Manifest{Manifest: m}, err
		},
	}
	if ref.Digest == "" {
		w.remote = func(ctx context.Context, r remote) (Manifest, error) { return r.tag(ctx, ref.Tag) }
		return w.find(ctx, notHere)
	}
	return byDigest[Manifest]{
		walk: w, digest: ref.Digest, content: "manifest",
		local: func(ctx context.Context, r meta.Repo, u *meta.Upstream) (Manifest, error) {
			m, err := s.meta.FindManifest(ctx, r, ref)
			if err == nil && u != nil {
				s.pulls.add(meta.CachedPull{Repo: r, Digest: m.Digest, Keep: u.Settings.Keep})
			}
			return Manifest{Manifest: m, Cached: u != nil}, err
		},
		fetch: func(ctx context.Context, r remote, _ named) (Manifest, error) { return r.fetchManifest(ctx, ref) },
	}.find(ctx, notHere)
}

// fetchManifest fetches what is not kept yet, by digest.
func (r remote) fetchManifest(ctx context.Context, ref oci.Reference) (Manifest, error) {
	what := "manifest " + ref.String()
	if r.absent.knows(r.key(what), r.now()) {
		return Manifest{}, errNotHere
	}
	return once(ctx, r, what, func(ctx context.Context) (Manifest, error) {
		return among(ctx, r, what,
			func(ctx context.Context) (Manifest, error) {
				m, err := r.meta.FindManifest(ctx, r.repo, ref)
				if fault.KindOf(err) == fault.NotFound && err != nil {
					return Manifest{}, errUnknown
				}
				return Manifest{Manifest: m, Cached: true}, ours(err)
			},
			func(ctx context.Context) (Manifest, error) { return r.take(ctx, ref, what) })
	})
}

// take asks the upstream for a manifest and keeps it.
func (r remote) take(ctx context.Context, ref oci.Reference, what string) (Manifest, error) {
	got, err := r.client.Manifest(ctx, r.repo.Name, ref)
	if upstream.OutcomeOf(err) == upstream.NotHere {
		r.absent.add(r.key(what), r.now(), r.upstream.Settings.NegativeTTL)
	}
	if err != nil {
		return Manifest{}, err
	}
	m := Manifest{
		Manifest:  meta.Manifest{Digest: got.Digest, MediaType: got.MediaType, Payload: got.Payload},
		CheckedAt: r.now(),
	}
	parsed, err := oci.ParseManifest(got.MediaType, got.Payload)
	if err != nil {
		return Manifest{}, ours(fmt.Errorf("the client let pass what is no manifest: %w", err))
	}
	r.absent.drop(r.key(what))
	err = r.meta.PutCached(ctx, meta.CachedPut{Repo: r.repo, Manifest: m.Manifest, Parsed: parsed, Tag: ref.Tag, Keep: r.upstream.Settings.Keep})
	switch {
	case err != nil && fault.KindOf(err) == fault.NotFound: // another cache took the place of this one meanwhile
		r.Clear()
		err = nil
	case fault.Is(err, fault.QuotaExceeded):
		err = nil // it is passed through: pushes may need what is left
	}
	return m, ours(err)
}

// manifestSize is what sending m takes.
func manifestSize(m Manifest) int64 { return respond.ManifestSize(m.Manifest) }
