// Package webhooks tells the servers of tenants of events: it makes deliveries of events, and
// sends them. Any number of processes may work; rows of the store decide who does what.
package webhooks

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/seal"
	"github.com/berth-registry/berth/pkg/tenant"
)

// How a Sender works.
const (
	poll       = time.Second
	pollFailed = 10 * time.Second
	trimEvery  = 5 * time.Minute
	trimAtOnce = 10_000
	makeAtOnce = 100 // events of a tenant in a transaction
	timeout    = 15 * time.Second
	hold       = time.Minute // of a claim, longer than timeout: then another process may try it
	recording  = 10 * time.Second
)

// Bounds of what one process sends at once.
const (
	perWebhook = 4
	perTenant  = 8
	inAll      = 256
)

// Config is what a Sender depends on.
type Config struct {
	Meta      meta.WebhookDeliveries
	Secrets   *seal.Keyring
	Transport func(tenantSlug string) http.RoundTripper // the way to a host that a tenant names
	Log       *slog.Logger
	Metrics   prometheus.Registerer
	Now       func() time.Time // for signatures; nil: time.Now
}

// Sender makes deliveries and sends them. Make one with New.
type Sender struct {
	Config
	metrics *metrics
	backlog int
	again   chan struct{} // there may be more to send
	trimmed time.Time

	mu       sync.Mutex
	all      int
	tenants  map[tenant.ID]int
	webhooks map[uuid.UUID]int
	last     meta.WaitingWebhook // whose turn was the last one
	working  sync.WaitGroup
}

// New makes a Sender; Run sends.
func New(c Config) *Sender {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Sender{
		Config: c, metrics: newMetrics(c.Metrics), backlog: meta.DeliveryBacklog, again: make(chan struct{}, 1),
		tenants: map[tenant.ID]int{}, webhooks: map[uuid.UUID]int{},
	}
}

// Run works until ctx ends, and what is in flight then. An attempt that was interrupted is made
// again when its claim has ended.
func (s *Sender) Run(ctx context.Context) {
	defer s.working.Wait()
	next := time.NewTimer(poll)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		case <-s.again:
		}
		wait := poll
		if err := s.Step(ctx); err != nil && ctx.Err() == nil {
			s.Log.ErrorContext(ctx, "webhooks cannot be served and will be retried", "error", err)
			s.metrics.errors.Inc()
			wait = pollFailed
		}
		next.Reset(wait)
	}
}

// Step makes deliveries of all events, and begins to send what is due as far as there is room.
func (s *Sender) Step(ctx context.Context) error {
	if err := s.make(ctx); err != nil {
		return err
	}
	if now := s.Now(); now.Sub(s.trimmed) > trimEvery {
		if _, err := s.Meta.TrimDeliveries(ctx, trimAtOnce, meta.DeliveryLog); err != nil {
			return err
		}
		s.trimmed = now
	}
	return s.send(ctx)
}

// make makes the deliveries of all tenants' events, of each some at a time.
func (s *Sender) make(ctx context.Context) error {
	more := true
	for more {
		more = false
		for after := tenant.ID(0); ; {
			made, err := s.Meta.MakeDeliveries(ctx, after, makeAtOnce, s.backlog, Render)
			if err != nil {
				return err
			}
			if made.Tenant == 0 {
				break
			}
			after = made.Tenant
			more = more || made.Events >= makeAtOnce
			s.metrics.made.Add(float64(made.Made))
			s.metrics.ended.WithLabelValues(endDropped).Add(float64(made.Dropped))
		}
	}
	return nil
}

// send gives each webhook with due deliveries its turn, from where the last round ended.
func (s *Sender) send(ctx context.Context) error {
	first := s.last
	at, wrapped := first, first == meta.WaitingWebhook{}
	for {
		next, err := s.Meta.NextWaiting(ctx, at)
		if err != nil {
			return err
		}
		if next.Webhook == uuid.Nil {
			if wrapped {
				return nil
			}
			wrapped, at = true, meta.WaitingWebhook{}
			continue
		}
		at = next
		if next.Due {
			full, err := s.turn(ctx, next)
			if err != nil || full {
				return err
			}
			s.last = next
		}
		if wrapped && next.Tenant == first.Tenant && next.Webhook == first.Webhook {
			return nil
		}
	}
}

// turn claims as many deliveries of one webhook as may be sent at once. It reports whether
// the process sends as many of all webhooks as it may.
func (s *Sender) turn(ctx context.Context, at meta.WaitingWebhook) (bool, error) {
	room, full := s.room(at)
	if room <= 0 {
		return full, nil
	}
	w, found, err := s.Meta.FindClaimable(ctx, at.Tenant, at.Webhook)
	if err != nil || !found {
		return false, err
	}
	claim := uuid.New()
	claimed, err := s.Meta.ClaimDeliveries(ctx, at.Tenant, at.Webhook, claim, hold, room)
	if err != nil {
		return false, err
	}
	for _, d := range claimed {
		s.count(at, 1)
		s.working.Go(func() {
			defer func() {
				s.count(at, -1)
				select {
				case s.again <- struct{}{}:
				default:
				}
			}()
			s.deliver(ctx, w, d, claim)
		})
	}
	return false, nil
}

// room is how many deliveries of the webhook may begin, and whether no other may.
func (s *Sender) room(at meta.WaitingWebhook) (int, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return min(perWebhook-s.webhooks[at.Webhook], perTenant-s.tenants[at.Tenant], inAll-s.all), s.all >= inAll
}

func (s *Sender) count(at meta.WaitingWebhook, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all += n
	if s.tenants[at.Tenant] += n; s.tenants[at.Tenant] == 0 {
		delete(s.tenants, at.Tenant)
	}
	if s.webhooks[at.Webhook] += n; s.webhooks[at.Webhook] == 0 {
		delete(s.webhooks, at.Webhook)
	}
}
