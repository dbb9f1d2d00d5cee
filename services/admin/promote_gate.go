package admin

import (
	"context"

	"github.com/berth-registry/berth/pkg/fairgate"
	"github.com/berth-registry/berth/pkg/tenant"
)

// Bounds of the gate of promotions, each of which keeps its plan in memory.
const (
	promotionsAtOnce = 16 // of all tenants
	promotionsMost   = 8  // of one tenant
)

func newPromotionGate() *fairgate.Gate[tenant.ID] {
	return fairgate.New[tenant.ID](fairgate.Options{Capacity: promotionsAtOnce, Most: promotionsMost, MaxWaiting: maxTestsWaiting})
}

// enterPromotion waits for the tenant's turn, which it gives back to s.promoting.
func (s *Service) enterPromotion(ctx context.Context, t tenant.ID) error {
	return enter(ctx, s.promoting, t, ":promote")
}
