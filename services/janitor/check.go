package janitor

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// Check is one examination of a whole deployment, "berth fsck".
type Check struct {
	Meta  meta.Checker
	Blobs interface {
		blob.Opener
		blob.Lister
	}
	Deep     bool                // read every live object and compare its digest
	Progress func(objects int64) // called from time to time; may be nil
}

// Summary counts what was checked.
type Summary struct {
	Objects int64 `json:"objects"` // rows of objects
	Bytes   int64 `json:"bytes"`   // of live objects
	Stored  int64 `json:"stored"`  // objects in the store
}

// checkPage is how many object rows are read at a time.
const checkPage = 1000

// Run reports every broken invariant that it finds (protocol section 1). An error
// means that the check itself failed.
func (c Check) Run(ctx context.Context, report func(meta.Finding)) (Summary, error) {
	var sum Summary
	if err := c.Meta.CheckRows(ctx, report); err != nil {
		return sum, err
	}
	if err := c.rowsHaveObjects(ctx, &sum, report); err != nil {
		return sum, err
	}
	err := c.Blobs.List(ctx, func(s blob.Stored) error {
		sum.Stored++
		return c.objectHasRow(ctx, s, report)
	})
	return sum, err
}

// rowsHaveObjects is I1: no dangling pointer.
func (c Check) rowsHaveObjects(ctx context.Context, sum *Summary, report func(meta.Finding)) error {
	var after blob.Key
	for {
		rows, err := c.Meta.ListObjects(ctx, after, checkPage)
		if err != nil || len(rows) == 0 {
			return err
		}
		for _, row := range rows {
			after = row.Key
			sum.Objects++
			if row.State != 'L' {
				continue
			}
			sum.Bytes += row.Size
			if err := c.liveObject(ctx, row, report); err != nil {
				return err
			}
		}
		if c.Progress != nil {
			c.Progress(sum.Objects)
		}
	}
}

func (c Check) liveObject(ctx context.Context, row meta.ObjectRow, report func(meta.Finding)) error {
	size, err := c.Blobs.Stat(ctx, row.Key)
	switch {
	case errors.Is(err, blob.ErrMissing) && row.Cached:
		return nil // after a restore; the next pull fetches it again
	case errors.Is(err, blob.ErrMissing):
		return c.report(ctx, row, report, "I1", "object %s of blob %s is missing", row.Key, row.Blob)
	case err != nil:
		return err
	case size != row.Size:
		return c.report(ctx, row, report, "I1", "object %s of blob %s has %d bytes, not %d", row.Key, row.Blob, size, row.Size)
	case row.Blob == "":
		return c.report(ctx, row, report, "I13", "live object %s has no blob", row.Key)
	case !c.Deep:
		return nil
	}
	return c.deep(ctx, row, report)
}

func (c Check) deep(ctx context.Context, row meta.ObjectRow, report func(meta.Finding)) error {
	want, err := oci.ParseDigest(row.Blob)
	if err != nil {
		return err
	}
	f, err := c.Blobs.Open(ctx, row.Key)
	if err != nil {
		return err
	}
	h := oci.NewHasher(want.Algorithm())
	_, err = io.Copy(h, f)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if got := h.Digest(); got != want {
		return c.report(ctx, row, report, "I1", "object %s holds %s, not %s", row.Key, got, want)
	}
	return ctx.Err()
}

// objectHasRow is I3: no unknown object.
func (c Check) objectHasRow(ctx context.Context, s blob.Stored, report func(meta.Finding)) error {
	if s.Foreign != "" {
		report(meta.Finding{Invariant: "I3", Detail: fmt.Sprintf("%s is not an object of this store", s.Foreign), Object: s.Foreign})
		return nil
	}
	_, err := c.Meta.FindObject(ctx, s.Key)
	if fault.Is(err, fault.ResourceUnknown) {
		return c.report(ctx, meta.ObjectRow{Key: s.Key}, report, "I3", "object %s (%d bytes) is in the store and in no row", s.Key, s.Size)
	}
	return err
}

// report reports a broken invariant of an object, with the repositories of its
// blob.
func (c Check) report(ctx context.Context, row meta.ObjectRow, report func(meta.Finding), invariant, format string, args ...any) error {
	place, err := c.Meta.LocateBlob(ctx, row.Key.Tenant, oci.Digest(row.Blob))
	if err != nil {
		return err
	}
	report(meta.Finding{
		Invariant: invariant, Detail: fmt.Sprintf(format, args...),
		Place: place, Digest: row.Blob, Object: row.Key.String(),
	})
	return nil
}
