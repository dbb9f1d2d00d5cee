package admin

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/meta"
)

// usageUnits are the granularities.
var usageUnits = map[pb.UsagePeriod_Granularity]meta.UsageUnit{
	pb.UsagePeriod_GRANULARITY_UNSPECIFIED: meta.UsageHour,
	pb.UsagePeriod_HOUR:                    meta.UsageHour,
	pb.UsagePeriod_DAY:                     meta.UsageDay,
	pb.UsagePeriod_MONTH:                   meta.UsageMonth,
}

// ListUsage pages what a tenant used, the oldest first; for the operator, what a deleted one
// did, too.
func (s *Service) ListUsage(ctx context.Context, req *pb.ListUsageRequest) (*pb.ListUsageResponse, error) {
	t, err := s.findAnyTenant(ctx, "parent", req.GetParent())
	if err != nil {
		return nil, err
	}
	all, err := usageQuery(req)
	if err != nil {
		return nil, err
	}
	bound := fmt.Sprintf("usage periods, %s, %d, %d", all.Unit, all.From.Unix(), all.To.Unix())
	rows, next, err := listPage(s, bound, req.GetParent(), req, func(p meta.Page) ([]meta.UsagePeriod, error) {
		q := all
		q.Size = p.Size
		if p.After != "" {
			from, err := parseKey[int64](p.After)
			if err != nil {
				return nil, err
			}
			q.From = time.Unix(from, 0).UTC()
		}
		return s.store.UsagePeriods(ctx, t.ID, q)
	}, func(p meta.UsagePeriod) string { return strconv.FormatInt(all.Unit.Next(p.Begin).Unix(), 10) })
	if err != nil {
		return nil, err
	}
	return &pb.ListUsageResponse{
		Periods:       mapped(rows, func(p meta.UsagePeriod) *pb.UsagePeriod { return usagePeriodMessage(t, all, p) }),
		NextPageToken: next,
	}, nil
}

// usageQuery is the range in whole hours.
func usageQuery(req *pb.ListUsageRequest) (meta.UsageQuery, error) {
	q := meta.UsageQuery{}
	unit, known := usageUnits[req.GetGranularity()]
	if !known {
		return q, invalid("granularity", "it is HOUR, DAY or MONTH")
	}
	q.Unit = unit
	for _, bound := range []struct {
		field string
		given *timestamppb.Timestamp
		to    *time.Time
	}{{"start_time", req.GetStartTime(), &q.From}, {"end_time", req.GetEndTime(), &q.To}} {
		if bound.given == nil {
			continue
		}
		if !bound.given.IsValid() || bound.given.GetSeconds() < 0 {
			return q, invalid(bound.field, "it is not a time since 1970")
		}
		*bound.to = meta.UsageHour.Floor(bound.given.AsTime().Add(time.Hour - 1)) // hours that begin at it or later
	}
	if !q.To.IsZero() && !q.From.Before(q.To) {
		return q, invalid("end_time", "the range has no hour: it ends where it begins, or before")
	}
	return q, nil
}

func usagePeriodMessage(t meta.Tenant, q meta.UsageQuery, p meta.UsagePeriod) *pb.UsagePeriod {
	begin, end := p.Begin, q.Unit.Next(p.Begin)
	if begin.Before(q.From) {
		begin = q.From
	}
	if !q.To.IsZero() && end.After(q.To) {
		end = q.To
	}
	return &pb.UsagePeriod{
		Tenant:            "tenants/" + t.Slug,
		TenantUid:         strconv.FormatInt(int64(t.ID), 10),
		StartTime:         timestamppb.New(begin),
		EndTime:           timestamppb.New(end),
		Pulls:             p.Pulls,
		Pushes:            p.Pushes,
		EgressBytes:       p.EgressBytes,
		ReceivedBytes:     p.ReceivedBytes,
		CacheSavedBytes:   p.CacheSavedBytes,
		SharingSavedBytes: p.SharingSavedBytes,
		SampledHours:      p.SampledHours,
		StoredByteHours:   p.StoredByteHours,
		SharedByteHours:   p.SharedByteHours,
		CachedByteHours:   p.CachedByteHours,
		TrashByteHours:    p.TrashByteHours,
	}
}
