// Package registry answers pulls from what a registry hosts, takes manifests,
// lists and deletes. Blobs come in through package upload.
package registry

import (
	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// Config is what the service works on.
type Config struct {
	Meta  Meta
	Blobs blob.Opener
}

// Meta is the part of meta.Store that the service needs.
type Meta interface {
	meta.Manifests
	meta.Tags
	meta.Blobs
	meta.Repositories
}

// Service has one method per operation. Rights are decided before, by the
// rules of NewHandler.
type Service struct {
	meta    Meta
	blobs   blob.Opener
	transit *transit
}

// New makes the service.
func New(c Config) *Service {
	return &Service{meta: c.Meta, blobs: c.Blobs, transit: &transit{tenants: map[tenant.ID]int64{}}}
}
