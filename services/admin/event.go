package admin

import (
	"context"
	"strconv"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/meta"
)

// ListEvents pages the audit log of a tenant, newest first; for the operator, that
// of a deleted one, too.
func (s *Service) ListEvents(ctx context.Context, req *pb.ListEventsRequest) (*pb.ListEventsResponse, error) {
	t, err := s.findAnyTenant(ctx, "parent", req.GetParent())
	if err != nil {
		return nil, err
	}
	rows, next, err := listPage(s, "events", req.GetParent(), req,
		func(p meta.Page) ([]meta.Event, error) { return s.store.ListEvents(ctx, t.ID, p) },
		func(e meta.Event) string { return strconv.FormatInt(e.ID, 10) })
	if err != nil {
		return nil, err
	}
	return &pb.ListEventsResponse{
		Events: mapped(rows, func(e meta.Event) *pb.Event {
			return &pb.Event{
				Name:      req.GetParent() + "/events/" + strconv.FormatInt(e.ID, 10),
				Time:      timestamppb.New(e.At),
				Actor:     e.Actor,
				Verb:      e.Verb,
				Target:    e.Target,
				RequestId: e.RequestID,
			}
		}),
		NextPageToken: next,
	}, nil
}
