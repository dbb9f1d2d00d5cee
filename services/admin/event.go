package admin

import (
	"context"
	"math"
	"strconv"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// ListEvents pages the audit log of a tenant, newest first unless the order is
// another; for the operator, that of a deleted one, too.
func (s *Service) ListEvents(ctx context.Context, req *pb.ListEventsRequest) (*pb.ListEventsResponse, error) {
	t, err := s.findAnyTenant(ctx, "parent", req.GetParent())
	if err != nil {
		return nil, err
	}
	return s.listEvents(ctx, t.ID, req.GetParent()+"/", req)
}

// ListOperatorEvents pages the log of the deployment itself.
func (s *Service) ListOperatorEvents(ctx context.Context, req *pb.ListOperatorEventsRequest) (*pb.ListEventsResponse, error) {
	return s.listEvents(ctx, meta.Deployment, "", req)
}

func (s *Service) listEvents(ctx context.Context, t tenant.ID, owner string, req eventsRequest) (*pb.ListEventsResponse, error) {
	rows, next, err := s.searchEvents(ctx, t, owner, req)
	if err != nil {
		return nil, err
	}
	return &pb.ListEventsResponse{
		Events:        mapped(rows, func(e meta.Event) *pb.Event { return eventMessage(owner, e) }),
		NextPageToken: next,
	}, nil
}

func eventMessage(owner string, e meta.Event) *pb.Event {
	return &pb.Event{
		Name:      owner + "events/" + strconv.FormatInt(e.ID, 10),
		Time:      timestamppb.New(e.At),
		Actor:     e.Actor,
		OnBehalf:  e.OnBehalf,
		Verb:      e.Verb,
		Target:    e.Target,
		RequestId: e.RequestID,
		Address:   e.Address,
		UserAgent: e.UserAgent,
		Changes:   changeMessages(e.Changes),
		Times:     e.Times,
	}
}

// changeMessages are none where a row cannot be read: the event is still told.
func changeMessages(text string) []*pb.Event_Change {
	changes, err := meta.DecodeChanges(text)
	if err != nil {
		return nil
	}
	return mapped(changes, func(c meta.Change) *pb.Event_Change {
		return &pb.Event_Change{Field: c.Field, OldValue: c.Old, NewValue: c.New}
	})
}

type eventsRequest interface {
	pageRequest
	GetFilter() string
	GetOrderBy() string
}

// eventsList is what page tokens of events are bound to.
const eventsList = "events"

// searchEvents goes by id, which is the order of time except for transactions that
// were in flight together.
func (s *Service) searchEvents(ctx context.Context, t tenant.ID, owner string, req eventsRequest) ([]meta.Event, string, error) {
	filter, err := parseEventFilter(req.GetFilter())
	if err != nil {
		return nil, "", err
	}
	all := meta.Between[int64]{Before: math.MaxInt64}
	if all.Descending, err = parseOrder("time", req.GetOrderBy(), true); err != nil {
		return nil, "", err
	}
	fetch := func(b meta.Between[int64]) ([]meta.Event, error) { return s.store.EventsBetween(ctx, t, b) }
	if all, err = filter.narrow(all, fetch); err != nil {
		return nil, "", err
	}
	events := search[meta.Event, int64]{
		list: eventsList, parent: strings.TrimSuffix(owner, "/"), fetch: fetch,
		key: func(e meta.Event) int64 { return e.ID },
	}
	if filter != (eventFilter{}) {
		events.matches = filter.matches
	}
	return events.page(s.pages, req, all)
}
