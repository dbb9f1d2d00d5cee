package admin

import (
	"context"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/meta"
)

// maxDamaged is how many damaged blobs are shown with the scrub.
const maxDamaged = 100

var scrubStates = map[meta.ScrubState]pb.Scrub_State{
	meta.ScrubIdle: pb.Scrub_IDLE, meta.ScrubRunning: pb.Scrub_RUNNING, meta.ScrubStopped: pb.Scrub_STOPPED,
}

var damages = map[meta.Damage]pb.DamagedBlob_Damage{meta.Lost: pb.DamagedBlob_LOST, meta.Rotten: pb.DamagedBlob_ROTTEN}

// GetScrub tells how far it is.
func (s *Service) GetScrub(ctx context.Context, _ *pb.GetScrubRequest) (*pb.Scrub, error) {
	now, err := s.store.FindScrub(ctx)
	if err != nil {
		return nil, err
	}
	counts, err := s.store.CountDamaged(ctx)
	if err != nil {
		return nil, err
	}
	damaged, err := s.store.ListDamaged(ctx, blob.Key{}, maxDamaged)
	if err != nil {
		return nil, err
	}
	m := &pb.Scrub{
		Name: meta.ScrubTarget, State: scrubStates[now.State], Round: now.Round,
		Objects: now.Objects, Bytes: now.Bytes, TotalBytes: now.Total, Found: now.Found, Repaired: now.Repaired,
		Damaged: counts[meta.Lost] + counts[meta.Rotten], DamagedBlobs: mapped(damaged, damagedMessage),
	}
	if !now.StartedAt.IsZero() {
		m.StartTime = timestamppb.New(now.StartedAt)
	}
	if !now.EndedAt.IsZero() {
		m.EndTime = timestamppb.New(now.EndedAt)
	}
	return m, nil
}

// StartScrub lets a janitor walk.
func (s *Service) StartScrub(ctx context.Context, req *pb.StartScrubRequest) (*pb.Scrub, error) {
	by := causedBy(ctx, "state", "", "running")
	if err := s.store.StartScrub(ctx, by, req.GetWhole()); err != nil {
		return nil, err
	}
	return s.GetScrub(ctx, nil)
}

// StopScrub lets no janitor walk.
func (s *Service) StopScrub(ctx context.Context, _ *pb.StopScrubRequest) (*pb.Scrub, error) {
	if err := s.store.StopScrub(ctx, causedBy(ctx, "state", "", "stopped")); err != nil {
		return nil, err
	}
	return s.GetScrub(ctx, nil)
}

func damagedMessage(d meta.Damaged) *pb.DamagedBlob {
	return &pb.DamagedBlob{
		Tenant: "tenants/" + d.Tenant, Digest: d.Digest.String(), Repositories: d.Repositories, Object: d.Key.String(),
		Damage: damages[d.Damage], FindTime: timestamppb.New(d.FoundAt),
	}
}
