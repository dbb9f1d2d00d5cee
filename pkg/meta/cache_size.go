package meta

import (
	"cmp"
	"context"
	"math"
	"slices"
	"time"

	"github.com/berth-registry/berth/pkg/tenant"
)

// CacheSize is the disk space that the caches of all tenants take, in bytes.
type CacheSize struct {
	Cached  int64 // what only caches hold: their blobs and what their rows cost
	Evicted int64 // deleted from the caches, and not from the blob store yet
	Staged  int64 // of blobs that are being stored
}

// Total is the space of all three.
func (s CacheSize) Total() int64 { return s.Cached + s.Evicted + s.Staged }

// CacheTrimmer bounds the caches of all tenants together.
type CacheTrimmer interface {
	// CacheSize measures the caches. It reads a row for each tenant and each evicted
	// object.
	CacheSize(ctx context.Context) (CacheSize, error)
	// TrimCached expires the least recently pulled manifests, as ShrinkCached does,
	// until CacheSize.Cached is at most keep. Only tenants above their share (Share) lose
	// content. Blobs that no manifest names are released first, if they were stored
	// more than UnnamedGrace ago. It assumes that all that has expired is collected.
	TrimCached(ctx context.Context, keep int64, limit int) (int, error)
}

// UnnamedGrace is how long TrimCached leaves a cached blob that no manifest names: a
// client may be pulling its image.
const UnnamedGrace = time.Minute

// TenantCache is what only the caches of a tenant hold, in bytes.
type TenantCache struct {
	Tenant tenant.ID
	Bytes  int64
}

// TrimShares calls trim for each tenant above its share, the one farthest above it
// first, with the bytes that it has too many, until limit pieces of work are done. It
// returns how many.
func TrimShares(caches []TenantCache, keep int64, limit int, trim func(t tenant.ID, over int64, limit int) (int, error)) (int, error) {
	slices.SortFunc(caches, func(a, b TenantCache) int { return cmp.Compare(b.Bytes, a.Bytes) })
	held := make([]int64, len(caches))
	for i, c := range caches {
		held[i] = c.Bytes
	}
	share, work := Share(held, keep), 0
	for _, c := range caches {
		if c.Bytes <= share || work >= limit {
			break
		}
		n, err := trim(c.Tenant, c.Bytes-share, limit-work)
		work += n
		if err != nil {
			return work, err
		}
	}
	return work, nil
}

// Share is the number of bytes that each cache may keep so that all fit into keep:
// small caches stay whole, and the others get equal parts of the rest.
func Share(held []int64, keep int64) int64 {
	held = slices.Sorted(slices.Values(held))
	for i, bytes := range held {
		share := max(keep, 0) / int64(len(held)-i)
		if bytes > share {
			return share
		}
		keep -= bytes
	}
	return math.MaxInt64
}
