// Package registry serves pulls of hosted content, stores manifests, lists and
// deletes. Package upload stores blobs.
package registry

import (
	"context"
	"log/slog"
	"time"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/chains"
	"github.com/berth-registry/berth/services/internal/policy"
	"github.com/berth-registry/berth/services/internal/pullrules"
	"github.com/berth-registry/berth/services/internal/pulls"
	"github.com/berth-registry/berth/services/internal/respond"
	"github.com/berth-registry/berth/services/internal/source"
)

// Config is what the service needs.
type Config struct {
	Meta  Meta
	Blobs blob.Opener
	Log   *slog.Logger
	Now   func() time.Time // the clock; nil: time.Now

	Topologies *chains.Topologies // the process's cache; nil: one of its own

	Verify bool // compare each blob with its digest while it is sent

	Pulls *pulls.Recorder // of hosted manifests; nil: none is recorded

	PullRules *pullrules.Gate // the process's; nil: one of its own
}

// Meta is the part of meta.Store that the service needs.
type Meta interface {
	meta.Manifests
	meta.Tags
	meta.Blobs
	meta.Repositories
	chains.Finder
	meta.ClaimFinder
	meta.Adopter
	meta.CachedAges
	meta.PullPolicyFinder
	Search(ctx context.Context, t tenant.ID, q meta.SearchQuery) (meta.SearchPage, error)
	FindCachedTag(ctx context.Context, r meta.Repo, tag string) (meta.CachedTag, error)
}

// Service has one method per operation. The rules of its endpoints check rights
// before.
type Service struct {
	meta    Meta
	blobs   respond.Blobs
	budget  *respond.ByteBudget
	guard   chains.PushGuard
	sources source.Finder
	pulls   *pulls.Recorder
	rules   *pullrules.Gate
}

// New makes the service.
func New(c Config) *Service {
	if c.Topologies == nil {
		c.Topologies = chains.NewTopologies(c.Meta)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	s := &Service{
		meta:   c.Meta,
		blobs:  respond.Blobs{Store: c.Blobs, Meta: c.Meta, Log: c.Log, Verify: c.Verify},
		budget: respond.NewByteBudget(),
		guard:  chains.PushGuard{Topologies: c.Topologies, Claims: c.Meta},
		pulls:  c.Pulls,
		rules:  c.PullRules,
	}
	if s.rules == nil {
		s.rules = pullrules.New(pullrules.Config{Meta: c.Meta, Blobs: s.blobs, Log: c.Log, Now: c.Now})
	}
	s.sources = source.Finder{Meta: c.Meta, Blobs: c.Blobs, Policy: policy.NewStored(c.Meta, s.blobs, c.Now)}
	return s
}
