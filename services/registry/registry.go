// Package registry answers pulls from what a registry hosts, takes manifests,
// lists and deletes. Blobs come in through package upload.
package registry

import (
	"context"
	"log/slog"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/answer"
)

// Config is what the service works on.
type Config struct {
	Meta  Meta
	Blobs blob.Opener
	Log   *slog.Logger
}

// Meta is the part of meta.Store that the service needs.
type Meta interface {
	meta.Manifests
	meta.Tags
	meta.Blobs
	meta.Repositories
	meta.Adopter

	// These say what the chain of a registry comes to (meta.Groups, meta.Cache).
	FindTopology(ctx context.Context, t tenant.ID) (meta.Topology, error)
	ClaimedBy(ctx context.Context, t tenant.ID, registries []tenant.RegistryID, name string) (bool, error)
}

// Service has one method per operation. Rights are decided before, by the
// rules of NewHandler.
type Service struct {
	meta    Meta
	blobs   answer.Blobs
	transit *answer.Transit
}

// New makes the service.
func New(c Config) *Service {
	return &Service{
		meta:    c.Meta,
		blobs:   answer.Blobs{Store: c.Blobs, Meta: c.Meta, Log: c.Log},
		transit: answer.NewTransit(),
	}
}
