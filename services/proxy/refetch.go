package proxy

import (
	"context"
	"io"

	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/services/proxy/cache"
)

// FetchBlob opens a blob that a repository of an upstream has cached, and whose stored bytes are
// lost or wrong: it is fetched and stored again, as for a pull. The caller reads it to its end,
// and closes it.
func (s *Service) FetchBlob(ctx context.Context, from meta.CachedCopy, d oci.Digest, size int64) (io.ReadCloser, error) {
	r, err := s.offered(ctx, from)
	if err != nil {
		return nil, err
	}
	opened, err := r.Blob(ctx, d, size)
	return opened.Content, err
}

// offered finds a repository of an upstream, unless it offers that no longer.
func (s *Service) offered(ctx context.Context, from meta.CachedCopy) (*cache.Repository, error) {
	all, err := s.topologies.Find(ctx, from.Tenant)
	if err != nil {
		return nil, err
	}
	u, ok := all.Upstreams[from.Upstream]
	if !ok || !chain.Offers(&u, from.Repository) {
		return nil, fault.New(fault.NotFound, fault.NameUnknown, "upstream %q does not offer %s any longer", from.Upstream, from.Repository)
	}
	return s.caches.Repository(&u, from.TenantSlug, from.Repository, 0)
}
