package proxy

import (
	"context"
	"io"

	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// FetchBlob opens a blob that a repository of an upstream has cached, and whose stored bytes are
// lost or wrong: it is fetched and stored again, as for a pull. The caller reads it to its end,
// and closes it.
func (s *Service) FetchBlob(ctx context.Context, from meta.CachedCopy, d oci.Digest, size int64) (io.ReadCloser, error) {
	all, err := s.topologies.Find(ctx, from.Tenant)
	if err != nil {
		return nil, err
	}
	u, ok := all.Upstreams[from.Upstream]
	if !ok || !chain.Offers(&u, from.Repository) {
		return nil, fault.New(fault.NotFound, fault.NameUnknown, "upstream %q does not offer %s any longer", from.Upstream, from.Repository)
	}
	r, err := s.caches.Repository(&u, from.TenantSlug, from.Repository, 0)
	if err != nil {
		return nil, err
	}
	opened, err := r.Blob(ctx, d, size)
	return opened.Content, err
}
