package sqlitemeta

import (
	"context"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/tenant"
)

const findUsage = `SELECT lim, used + overhead, used + overhead - cached FROM usage WHERE tenant_id = ?1`

// usage is what a tenant is charged. Cached content has what pushes leave: it
// counts for itself, and for pushes it does not.
type usage struct{ limit, all, pushed int64 }

func (t *tx) usage(id tenant.ID) (usage, error) {
	var u usage
	_, err := t.find(findUsage, []any{id}, &u.limit, &u.all, &u.pushed) // nothing is charged to a tenant that is not there
	return u, err
}

// charged is what counts for a push, or for what is cached.
func (u usage) charged(cached bool) int64 {
	if cached {
		return u.all
	}
	return u.pushed
}

// writeCharged is writeFor for what a tenant may get more by: it is refused where
// it grows what the tenant is charged past the quota. fn says whether it was
// about cached content.
func (s *Store) writeCharged(ctx context.Context, id tenant.ID, fn func(*tx) (cached bool, err error)) error {
	return s.writeFor(ctx, id, charged(id, fn))
}

// charged is the refusal of writeCharged around one transaction.
func charged(id tenant.ID, fn func(*tx) (cached bool, err error)) func(*tx) error {
	return func(t *tx) error {
		before, err := t.usage(id)
		if err != nil {
			return err
		}
		cached, err := fn(t)
		if err != nil {
			return err
		}
		after, err := t.usage(id)
		if err != nil {
			return err
		}
		if n := after.charged(cached); after.limit > 0 && n > after.limit && n > before.charged(cached) {
			return quotaExceeded("the tenant would be charged %d bytes, and its quota is %d", n, after.limit)
		}
		return nil
	}
}

func quotaExceeded(format string, args ...any) error {
	return fault.New(fault.Denied, fault.QuotaExceeded, "quota exceeded: "+format, args...).WithDetail("quota exceeded")
}
