package registry

import (
	"context"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/services/internal/answer"
)

// Rows are fetched in batches: a few first, then as many as should fit by the
// size of those.
const (
	firstBatch = 4
	maxBatch   = 256
)

// ListReferrers asks for one page of the manifests that have a subject.
type ListReferrers struct {
	Repo         meta.Repo
	Subject      oci.Digest
	ArtifactType string // empty for all
	Page         meta.Page
}

// ListReferrers lists at most Page.Size referrers, fewer if they are more than
// 4 MiB.
func (s *Service) ListReferrers(ctx context.Context, req ListReferrers) (answer.Referrers, error) {
	var found answer.Referrers
	after := req.Page.After
	fits := firstBatch
	for {
		left := req.Page.Size - len(found.Descriptors)
		batch := meta.Page{After: after, Size: min(left+1, fits)} // left+1: see answer.OneMore
		rows, err := s.meta.ListReferrers(ctx, req.Repo, req.Subject, req.ArtifactType, batch)
		if err != nil {
			return answer.Referrers{}, err
		}
		for _, row := range rows {
			if ok, err := found.Take(row, req.Page.Size); err != nil || !ok {
				return found, err
			}
		}
		if len(rows) < batch.Size && bytesOf(rows) < meta.MaxReferrerBytes {
			return found, nil
		}
		after = rows[len(rows)-1].Digest.String()
		average := found.Size() / len(found.Descriptors)
		fits = min(max(answer.MaxReferrers-found.Size(), 0)/average+1, maxBatch)
	}
}

func bytesOf(rows []meta.Referrer) int64 {
	var n int64
	for _, r := range rows {
		n += r.Size
	}
	return n
}
