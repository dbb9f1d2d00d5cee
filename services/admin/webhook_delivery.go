package admin

import (
	"context"
	"math"
	"strconv"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/meta"
)

const deliveriesCollection = "deliveries"

// GetWebhookDelivery returns one delivery, with its body.
func (s *Service) GetWebhookDelivery(ctx context.Context, req *pb.GetWebhookDeliveryRequest) (*pb.WebhookDelivery, error) {
	t, w, id, err := s.findDelivery(ctx, req.GetName())
	if err != nil {
		return nil, err
	}
	d, err := s.store.FindDelivery(ctx, w, id)
	if err != nil {
		return nil, err
	}
	m := deliveryMessage(webhookName(t, w), d)
	m.Body = d.Body
	return m, nil
}

// ListWebhookDeliveries pages the deliveries of a webhook, newest first.
func (s *Service) ListWebhookDeliveries(ctx context.Context, req *pb.ListWebhookDeliveriesRequest) (*pb.ListWebhookDeliveriesResponse, error) {
	t, w, err := s.webhooks().find(ctx, "parent", req.GetParent())
	if err != nil {
		return nil, err
	}
	state, known := deliveryStates[req.GetState()]
	if !known {
		return nil, invalid("state", "%d is not a state; it is one of PENDING, DELIVERED, DEAD", req.GetState())
	}
	rows, next, err := listPage(s, strings.TrimSpace(deliveriesCollection+" "+string(state)), req.GetParent(), req,
		func(p meta.Page) ([]meta.Delivery, error) {
			b := meta.Between[int64]{Before: math.MaxInt64, Descending: true, Size: p.Size}
			if p.After != "" {
				var err error
				if b.Before, err = strconv.ParseInt(p.After, 10, 64); err != nil {
					return nil, err
				}
			}
			return s.store.DeliveriesBetween(ctx, w, state, b)
		},
		func(d meta.Delivery) string { return strconv.FormatInt(d.ID, 10) })
	if err != nil {
		return nil, err
	}
	name := webhookName(t, w)
	return &pb.ListWebhookDeliveriesResponse{
		Deliveries:    mapped(rows, func(d meta.Delivery) *pb.WebhookDelivery { return deliveryMessage(name, d) }),
		NextPageToken: next,
	}, nil
}

// RedeliverWebhookDelivery sends a delivery once more.
func (s *Service) RedeliverWebhookDelivery(ctx context.Context, req *pb.RedeliverWebhookDeliveryRequest) (*pb.WebhookDelivery, error) {
	t, w, id, err := s.findDelivery(ctx, req.GetName())
	if err != nil {
		return nil, err
	}
	d, err := s.store.Redeliver(ctx, causedBy(ctx, "delivery", "", strconv.FormatInt(id, 10)), w, id)
	if err != nil {
		return nil, err
	}
	return deliveryMessage(webhookName(t, w), d), nil
}

// findDelivery finds the webhook of a delivery.
func (s *Service) findDelivery(ctx context.Context, name string) (meta.Tenant, meta.Webhook, int64, error) {
	parent, text, found := strings.Cut(name, "/"+deliveriesCollection+"/")
	id, err := strconv.ParseInt(text, 10, 64)
	if !found || err != nil {
		return meta.Tenant{}, meta.Webhook{}, 0, badName("name", name, []string{"tenants", "webhooks", deliveriesCollection})
	}
	t, w, err := s.webhooks().find(ctx, "name", parent)
	return t, w, id, err
}

// deliveryStates are the states that a list may be of.
var deliveryStates = map[pb.WebhookDelivery_State]meta.DeliveryState{
	pb.WebhookDelivery_STATE_UNSPECIFIED: "", pb.WebhookDelivery_PENDING: meta.DeliveryPending,
	pb.WebhookDelivery_DELIVERED: meta.DeliveryDelivered, pb.WebhookDelivery_DEAD: meta.DeliveryDead,
}

func deliveryMessage(webhook string, d meta.Delivery) *pb.WebhookDelivery {
	m := &pb.WebhookDelivery{
		Name:      webhook + "/" + deliveriesCollection + "/" + strconv.FormatInt(d.ID, 10),
		WebhookId: d.Message(), Verb: d.Verb, Target: d.Target,
		State:    pb.WebhookDelivery_State(pb.WebhookDelivery_State_value[strings.ToUpper(string(d.State))]),
		Attempts: int32(min(d.Attempts, math.MaxInt32)), Status: int32(d.Status), Failure: d.Failure, Response: d.Response,
		CreateTime: timestamppb.New(d.CreatedAt), ExpireTime: timestamppb.New(d.Until),
	}
	if !d.TriedAt.IsZero() {
		m.AttemptTime = timestamppb.New(d.TriedAt)
	}
	if d.State == meta.DeliveryPending {
		m.NextAttemptTime = timestamppb.New(d.Due)
	}
	return m
}
