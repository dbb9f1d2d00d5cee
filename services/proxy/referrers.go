package proxy

import (
	"context"
	"slices"
	"strings"

	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/services/internal/respond"
)

// maxReferrers is how many referrers of one subject are taken from an upstream.
const maxReferrers = 1000

// ListReferrers asks for one page of the manifests that have a subject, at all
// members.
type ListReferrers struct {
	Ask
	Subject      oci.Digest
	ArtifactType string // empty for all
	Page         meta.Page
}

// ListReferrers merges what the members list, in the order of digests, each once.
func (s *Service) ListReferrers(ctx context.Context, req ListReferrers) (respond.ReferrersResponse, error) {
	ctx, asked, err := s.follow(ctx, req.Ask)
	if err != nil {
		return respond.ReferrersResponse{}, err
	}
	page := respond.WithLookahead(req.Page)
	var merged []meta.Referrer
	var end oci.Digest // what follows it is not known of all members; empty: all is
	err = s.gather(ctx, asked, parts{
		hosted: func(ctx context.Context, r meta.Repo) error {
			rows, err := s.meta.ListReferrers(ctx, r, req.Subject, req.ArtifactType, page)
			if last := cutAt(rows, page.Size); last != "" && (end == "" || last < end) {
				end = last
			}
			merged = append(merged, rows...)
			return err
		},
		remote: func(ctx context.Context, r remote) error {
			rows, err := r.referrers(ctx, req)
			merged = append(merged, rows...)
			return err
		},
		found: func() bool { return len(merged) > 0 },
	})
	if err != nil {
		return respond.ReferrersResponse{}, err
	}
	// Of several that list the same, the first has its say.
	slices.SortStableFunc(merged, func(a, b meta.Referrer) int { return strings.Compare(string(a.Digest), string(b.Digest)) })
	merged = slices.CompactFunc(merged, func(a, b meta.Referrer) bool { return a.Digest == b.Digest })
	if end != "" {
		merged = slices.DeleteFunc(merged, func(m meta.Referrer) bool { return m.Digest > end })
	}
	found, err := respond.TrimReferrers(merged[:min(len(merged), page.Size)], req.Page.Size)
	found.More = found.More || end != ""
	return found, err
}

// cutAt is where the store ended a page before it had n rows, since they are
// large (meta.MaxReferrerBytes); empty where it did not.
func cutAt(rows []meta.Referrer, n int) oci.Digest {
	size := int64(0)
	for _, r := range rows {
		size += r.Size
	}
	if size < meta.MaxReferrerBytes || len(rows) == n {
		return ""
	}
	return rows[len(rows)-1].Digest
}

// referrers is a page of what the upstream lists.
func (r remote) referrers(ctx context.Context, req ListReferrers) ([]meta.Referrer, error) {
	l, err := r.list(ctx, "referrers "+req.Subject.String(), func(ctx context.Context) (list, error) {
		found, err := r.client.Referrers(ctx, r.repo.Name, req.Subject, maxReferrers)
		rows := make([]meta.Referrer, len(found))
		for i, f := range found {
			rows[i] = meta.Referrer{Digest: f.Digest, MediaType: f.MediaType, Size: f.Size, ArtifactType: f.ArtifactType, Annotations: f.Annotations}
		}
		return list{referrers: rows}, err
	})
	if outcomeOf(err) == chain.NotHere {
		return nil, nil // a subject that nobody knows has no referrers: that is no error
	}
	var page []meta.Referrer
	for _, row := range l.referrers {
		if (req.ArtifactType == "" || row.ArtifactType == req.ArtifactType) && string(row.Digest) > req.Page.After {
			page = append(page, row)
		}
	}
	return page, err
}
