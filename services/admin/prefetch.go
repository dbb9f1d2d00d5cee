package admin

import (
	"context"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
)

// fieldPrefetch begins the fields of a prefetch in a request.
const fieldPrefetch = "prefetch."

// Bounds of a prefetch.
const (
	defaultPrefetch       = 24 * time.Hour
	minPrefetch           = time.Hour
	maxPrefetch           = 365 * 24 * time.Hour
	maxPrefetchReferences = 1000
	maxPrefetchPatterns   = 50
	maxPrefetchPlatforms  = 20
)

func (s *Service) prefetches() collection[meta.Prefetch, *pb.Prefetch] {
	return collection[meta.Prefetch, *pb.Prefetch]{
		service: s, name: "prefetches", noun: "prefetch",
		new: func(_ context.Context, t meta.Tenant, slug string) meta.Prefetch {
			return meta.Prefetch{Tenant: t.ID, Slug: slug}
		},
		key: func(p meta.Prefetch) (string, int64) { return p.Slug, p.Version },
		set: s.setPrefetch, show: shown(prefetchMessage),
		limit: s.limits.PrefetchLimit(), findRow: s.store.FindPrefetch, listRows: s.store.ListPrefetches,
		createRow: s.store.CreatePrefetch, updateRow: s.store.UpdatePrefetch, deleteRow: s.store.DeletePrefetch,
	}
}

// CreatePrefetch makes a prefetch. Its first run begins at once.
func (s *Service) CreatePrefetch(ctx context.Context, req *pb.CreatePrefetchRequest) (*pb.Prefetch, error) {
	return s.prefetches().create(ctx, req.GetParent(), req.GetPrefetchId(), req.GetPrefetch(), req.GetValidateOnly())
}

// GetPrefetch returns one prefetch with its last run.
func (s *Service) GetPrefetch(ctx context.Context, req *pb.GetPrefetchRequest) (*pb.Prefetch, error) {
	return s.prefetches().get(ctx, req.GetName())
}

// ListPrefetches pages by slug.
func (s *Service) ListPrefetches(ctx context.Context, req *pb.ListPrefetchesRequest) (*pb.ListPrefetchesResponse, error) {
	rows, next, err := s.prefetches().list(ctx, req)
	return &pb.ListPrefetchesResponse{Prefetches: rows, NextPageToken: next}, err
}

// UpdatePrefetch changes what is fetched, from where and when.
func (s *Service) UpdatePrefetch(ctx context.Context, req *pb.UpdatePrefetchRequest) (*pb.Prefetch, error) {
	return s.prefetches().update(ctx, req, req.GetPrefetch())
}

// DeletePrefetch removes a prefetch.
func (s *Service) DeletePrefetch(ctx context.Context, req *pb.DeletePrefetchRequest) (*emptypb.Empty, error) {
	return s.prefetches().delete(ctx, req, req.GetEtag())
}

// RunPrefetch lets a run begin now.
func (s *Service) RunPrefetch(ctx context.Context, req *pb.RunPrefetchRequest) (*pb.Prefetch, error) {
	t, p, err := s.prefetches().find(ctx, "name", req.GetName())
	if err != nil {
		return nil, err
	}
	if p, err = s.store.RunPrefetch(ctx, causedBy(ctx, "state", "", "running"), t.ID, p.Slug); err != nil {
		return nil, err
	}
	return prefetchMessage(t, p), nil
}

// ListPrefetchedReferences pages the references of the last run.
func (s *Service) ListPrefetchedReferences(ctx context.Context, req *pb.ListPrefetchedReferencesRequest) (*pb.ListPrefetchedReferencesResponse, error) {
	t, p, err := s.prefetches().find(ctx, "parent", req.GetParent())
	if err != nil {
		return nil, err
	}
	rows, next, err := listPage(s, "references", req.GetParent(), req,
		func(page meta.Page) ([]meta.PrefetchReference, error) {
			return s.store.ListPrefetchReferences(ctx, t.ID, p.Slug, page)
		},
		func(r meta.PrefetchReference) string { return r.Reference })
	if err != nil {
		return nil, err
	}
	return &pb.ListPrefetchedReferencesResponse{References: mapped(rows, prefetchedMessage), NextPageToken: next}, nil
}

// setPrefetch takes over what a client may set. The upstream must be there when it is named;
// it may be deleted later.
func (s *Service) setPrefetch(ctx context.Context, t meta.Tenant, p *meta.Prefetch, m *pb.Prefetch) error {
	next, err := prefetchOf(m)
	if err != nil {
		return err
	}
	if next.Upstream != p.Upstream {
		if _, err := s.store.FindUpstream(ctx, t.ID, next.Upstream); fault.Is(err, fault.ResourceUnknown) {
			return invalid(fieldPrefetch+"upstream", "upstream %q not found in this tenant", next.Upstream)
		} else if err != nil {
			return err
		}
	}
	next.Slug, next.Tenant, next.Version, next.CreatedAt, next.UpdatedAt, next.Run = p.Slug, p.Tenant, p.Version, p.CreatedAt, p.UpdatedAt, p.Run
	*p = next
	return nil
}

// prefetchOf reads the prefetch that a client sets. It checks all but whether its upstream is
// there.
func prefetchOf(m *pb.Prefetch) (meta.Prefetch, error) {
	p := meta.Prefetch{
		Upstream: m.GetUpstream(), DisplayName: m.GetDisplayName(), Disabled: m.GetDisabled(),
		References: m.GetReferences(), Patterns: m.GetPatterns(), Platforms: m.GetPlatforms(), Interval: defaultPrefetch,
	}
	if err := checkDisplayName(fieldPrefetch+"display_name", p.DisplayName); err != nil {
		return p, err
	}
	if err := checkSlug(fieldPrefetch+"upstream", p.Upstream); err != nil {
		return p, err
	}
	if len(p.References)+len(p.Patterns) == 0 {
		return p, invalid(fieldPrefetch+"references", "it names nothing; add references or patterns")
	}
	for _, list := range []struct {
		field string
		of    []string
		most  int
		check func(field, entry string) error
	}{
		{"references", p.References, maxPrefetchReferences, checkPrefetchReference},
		{"patterns", p.Patterns, maxPrefetchPatterns, checkPrefetchPattern},
		{"platforms", p.Platforms, maxPrefetchPlatforms, checkPrefetchPlatform},
	} {
		if err := checkAtMost(fieldPrefetch+list.field, list.of, list.most, list.check); err != nil {
			return p, err
		}
	}
	if i := m.GetInterval(); i != nil {
		p.Interval = i.AsDuration()
		if i.CheckValid() != nil || p.Interval != 0 && (p.Interval < minPrefetch || p.Interval > maxPrefetch) {
			return p, invalid(fieldPrefetch+"interval", "%s is out of range: from %s to %s, or 0s for runs by :run alone", p.Interval, minPrefetch, maxPrefetch)
		}
	}
	return p, nil
}

func checkPrefetchReference(field, entry string) error {
	if _, _, err := meta.ParsePrefetchReference(entry); err != nil {
		return invalid(field, "%q is not a reference, such as library/alpine:3.20 or library/alpine@sha256:…: %s", clipped(entry), fault.From(err).Message)
	}
	return nil
}

func checkPrefetchPattern(field, entry string) error {
	_, tag, err := meta.ParsePrefetchPattern(entry)
	if err != nil {
		return invalid(field, "%q is not a repository with a pattern of its tags, such as library/alpine:3.*: %s", clipped(entry), fault.From(err).Message)
	}
	return checkRuleTag(field, tag)
}

func checkPrefetchPlatform(field, entry string) error {
	if !isPlatform(entry) {
		return invalid(field, "%q is not a pattern of platforms, such as linux/amd64 or linux/*", clipped(entry))
	}
	return nil
}

func prefetchMessage(t meta.Tenant, p meta.Prefetch) *pb.Prefetch {
	m := &pb.Prefetch{
		Name:        "tenants/" + t.Slug + "/prefetches/" + p.Slug,
		DisplayName: p.DisplayName,
		Upstream:    p.Upstream, References: p.References, Patterns: p.Patterns, Platforms: p.Platforms,
		Interval: durationpb.New(p.Interval), Disabled: p.Disabled,
	}
	if p.Version == 0 { // it was only validated
		return m
	}
	m.Etag = etag(p.Version)
	m.CreateTime, m.UpdateTime = timestamppb.New(p.CreatedAt), timestamppb.New(p.UpdatedAt)
	r := p.Run
	running := r.Number > 0 && r.EndedAt.IsZero()
	if !running && !r.DueAt.IsZero() {
		m.NextRunTime = timestamppb.New(r.DueAt)
	}
	if r.Number == 0 {
		return m
	}
	m.Run = &pb.Prefetch_Run{
		Number: r.Number, StartTime: timestamppb.New(r.BeganAt), References: r.Total, Done: r.Done, Failed: r.Failed, Bytes: r.Bytes,
		Limited: r.Limited, Failure: r.Failure,
	}
	if !running {
		m.Run.EndTime = timestamppb.New(r.EndedAt)
	}
	return m
}

func prefetchedMessage(r meta.PrefetchReference) *pb.PrefetchedReference {
	return &pb.PrefetchedReference{
		Reference: r.Reference, State: pb.PrefetchedReference_State(pb.PrefetchedReference_State_value[strings.ToUpper(string(r.State))]),
		Digest: r.Digest, Bytes: r.Bytes, Attempts: r.Attempts, Failure: r.Failure, UpdateTime: timestamppb.New(r.UpdatedAt),
	}
}
