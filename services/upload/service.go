// Package upload owns upload sessions: it stores the bytes of blobs, checks their
// digest, and makes them blobs of a repository (storage protocol, section 4).
package upload

import (
	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/services/internal/chains"
	"github.com/berth-registry/berth/services/internal/ingest"
)

// Config is what the service needs.
type Config struct {
	Meta  Meta
	Blobs Blobs

	Topologies *chains.Topologies // the process's cache; nil: one of its own
}

// Meta is the part of meta.Store that the service needs.
type Meta interface {
	meta.Uploads
	meta.Blobs
	chains.Finder
	meta.ClaimFinder
}

// Blobs is the part of blob.Store that the service needs.
type Blobs interface {
	blob.Appender
	blob.Opener
}

// Service has one method per operation. The rules of its endpoints check rights
// before.
type Service struct {
	meta     Meta
	blobs    Blobs
	sessions ingest.Sessions
	guard    chains.PushGuard
}

// New makes the service.
func New(c Config) *Service {
	if c.Topologies == nil {
		c.Topologies = chains.NewTopologies(c.Meta)
	}
	return &Service{
		meta: c.Meta, blobs: c.Blobs, sessions: ingest.Sessions{Meta: c.Meta, Blobs: c.Blobs, Remove: ingest.RemoverFor(c.Blobs)},
		guard: chains.PushGuard{Topologies: c.Topologies, Claims: c.Meta},
	}
}

// SessionResponse is the state of an upload session for clients.
type SessionResponse struct {
	Repo   meta.Repo
	ID     uuid.UUID
	Offset int64 // bytes that are stored for good
}

func responseOf(u meta.Upload) SessionResponse {
	return SessionResponse{Repo: u.Repo, ID: u.ID, Offset: u.Stage.Offset}
}

// BlobResponse is a blob that the repository holds from now on.
type BlobResponse struct {
	Repo   meta.Repo
	Blob   meta.Blob
	Shared bool // the tenant had it already
}
