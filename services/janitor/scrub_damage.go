package janitor

import (
	"context"
	"errors"
	"io"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

// maxCopies is how many upstreams are asked for a damaged blob.
const maxCopies = 3

func scrubCause() meta.Cause { return meta.Cause{Op: uuid.New(), Actor: "janitor"} }

// settle records what was found out of an object, and has an upstream give a damaged blob again.
// It returns whether the blob is damaged, and whether that was repaired.
func (s *Scrubber) settle(ctx context.Context, row meta.ObjectRow, damage meta.Damage, beat func(context.Context) error) (bool, bool, error) {
	b := meta.Blob{Digest: oci.Digest(row.Blob), Size: row.Size, Key: row.Key}
	if damage == "" {
		if !row.Suspect {
			return false, false, nil
		}
		s.Log.InfoContext(ctx, "the object of a suspect blob is as it must be", "digest", b.Digest, "object", b.Key.String())
		return false, false, s.Meta.ClearDamage(ctx, scrubCause(), b)
	}
	place, err := s.Meta.LocateBlob(ctx, b.Key.Tenant, b.Digest)
	if err != nil {
		return false, false, err
	}
	news, err := s.Meta.ReportDamage(ctx, scrubCause(), meta.Damaged{Blob: b, Damage: damage, Place: place})
	if err != nil {
		return false, false, err
	}
	if news {
		s.progress.found.WithLabelValues(string(damage)).Inc()
		s.Log.WarnContext(ctx, "a blob is damaged; a push of it repairs it", "damage", damage, "tenant", place.Tenant,
			"digest", b.Digest, "object", b.Key.String(), "repositories", place.Repositories)
	} else if gone, err := s.replaced(ctx, b); gone || err != nil {
		return false, false, err
	}
	repaired, err := s.fetchAgain(ctx, b, beat)
	return true, repaired, err
}

// replaced reports whether the blob has another object by now, or was removed.
func (s *Scrubber) replaced(ctx context.Context, b meta.Blob) (bool, error) {
	now, err := s.Meta.FindObject(ctx, b.Key)
	if fault.Is(err, fault.ResourceUnknown) {
		return true, nil
	}
	return now.Blob == "", err
}

// fetchAgain has an upstream give the blob, if the cache of one has it.
func (s *Scrubber) fetchAgain(ctx context.Context, b meta.Blob, beat func(context.Context) error) (bool, error) {
	if s.Fetch == nil {
		return false, nil
	}
	copies, err := s.Meta.ListCopies(ctx, tenant.ID(b.Key.Tenant), b.Digest, maxCopies)
	if err != nil {
		return false, err
	}
	for _, from := range copies {
		err := s.fetchFrom(ctx, from, b, beat)
		if err == nil {
			s.progress.repaired.Inc()
			s.Log.InfoContext(ctx, "a damaged blob was fetched again", "tenant", from.TenantSlug, "upstream", from.Upstream, "repository", from.Repository, "digest", b.Digest)
			return true, nil
		}
		if errors.Is(err, errTaken) || ctx.Err() != nil {
			return false, err
		}
		s.Log.WarnContext(ctx, "a damaged blob could not be fetched again; the next pull tries it", "tenant", from.TenantSlug, "upstream", from.Upstream, "digest", b.Digest, "error", err)
	}
	return false, nil
}

func (s *Scrubber) fetchFrom(ctx context.Context, from meta.CachedCopy, b meta.Blob, beat func(context.Context) error) error {
	content, err := s.Fetch(ctx, from, b.Digest, b.Size)
	if err != nil {
		return err
	}
	_, err = s.copySlowly(ctx, io.Discard, content, beat)
	return errors.Join(err, content.Close())
}
