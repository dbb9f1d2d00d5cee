package admin

import (
	"cmp"
	"context"
	"slices"
	"time"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/retention"
	"github.com/berth-registry/berth/services/internal/evaluate"
)

// simulation is a page in the making.
type simulation struct {
	*evaluate.Tenant
	service *Service
	tenant  meta.Tenant
	policy  meta.RetentionPolicy
	asked   evaluate.Place // empty parts: all
	at      retention.Moment
	from    simulatedPlace
	size    int
	end     time.Time // after which no repository is begun

	page *pb.SimulateRetentionResponse
	last evaluate.Place  // that the page is through with
	next *simulatedPlace // where the next page begins; nil: this was the last page
}

// simulatedPlace is where a page begins: after a decision about a repository, or after all
// of them.
type simulatedPlace struct {
	AsOf  time.Time
	Place evaluate.Place
	Key   string // of the last decision; empty: the page before is through with the repository
}

// walk fills the page.
func (m *simulation) walk(ctx context.Context) error {
	m.last = m.from.Place
	if m.asked.Name != "" || m.from.Key != "" {
		at := m.asked
		if m.from.Key != "" {
			at = m.from.Place
		}
		if err := m.named(ctx, at); err != nil || m.next != nil || m.asked.Name != "" {
			return err
		}
	}
	return m.Walk(ctx, m.policy, m.last, func(r meta.Repo, at evaluate.Place) (bool, error) {
		if m.asked.Registry != "" && at.Registry != m.asked.Registry {
			return true, nil
		}
		if len(m.page.GetRepositories()) == simulatedRepositories || len(m.page.GetDecisions()) == m.size || time.Now().After(m.end) {
			m.next = &simulatedPlace{Place: m.last}
			return false, nil
		}
		err := m.repository(ctx, r, at)
		return m.next == nil, err
	})
}

// named adds one repository, if the policy decides about it.
func (m *simulation) named(ctx context.Context, at evaluate.Place) error {
	g, err := m.service.store.FindRegistry(ctx, m.tenant.ID, at.Registry)
	if fault.Is(err, fault.ResourceUnknown) {
		return invalid("registry", "%s %q not found in this tenant", kindRegistry, clipped(at.Registry))
	}
	if err != nil || !meta.RetentionPolicyFor(m.Policies, m.policy, at.Registry, at.Name) {
		return err
	}
	return m.repository(ctx, meta.Repo{Tenant: m.tenant.ID, Registry: g.ID, Name: at.Name}, at)
}

// repository adds what the policy says of a repository, as far as the page has room.
func (m *simulation) repository(ctx context.Context, r meta.Repo, at evaluate.Place) error {
	e, err := m.Evaluate(ctx, m.policy.Policy, r, at.Registry, m.at)
	if fault.Is(err, fault.NameUnknown) {
		return nil // it was deleted
	}
	if err != nil {
		return err
	}
	name := "tenants/" + m.tenant.Slug + "/registries/" + at.Registry + "/repositories/" + at.Name
	for _, d := range decisionsOf(name, e) {
		key := decisionKey(d)
		if at == m.from.Place && key <= m.from.Key {
			continue
		}
		if len(m.page.GetDecisions()) == m.size {
			m.next = &simulatedPlace{Place: at, Key: decisionKey(m.page.GetDecisions()[m.size-1])}
			return nil
		}
		m.page.Decisions = append(m.page.Decisions, d)
	}
	m.page.Repositories = append(m.page.Repositories, totalOf(name, e))
	m.last = at
	return nil
}

// decisionsOf are the deletions of an evaluation and what is protected from it, in the
// order of their keys.
func decisionsOf(repository string, e evaluate.Evaluation) []*pb.SimulateRetentionResponse_Decision {
	var all []*pb.SimulateRetentionResponse_Decision
	for _, d := range e.Deletions {
		all = append(all, &pb.SimulateRetentionResponse_Decision{
			Repository: repository, Digest: d.Digest.String(), Tag: d.Tag, Tags: slices.Sorted(slices.Values(d.Tags)), Rule: d.Rule, Bytes: d.Bytes,
		})
	}
	for i, v := range e.Result.Tags {
		if tag := e.Content.Tags[i]; v.Reason == retention.ByTagRule {
			all = append(all, &pb.SimulateRetentionResponse_Decision{
				Repository: repository, Digest: tag.Digest.String(), Tag: tag.Name, Rule: v.Rule, TagRule: v.TagRule,
			})
		}
	}
	slices.SortFunc(all, func(a, b *pb.SimulateRetentionResponse_Decision) int {
		return cmp.Compare(decisionKey(a), decisionKey(b))
	})
	return all
}

// decisionKey is a decision among those about its repository.
func decisionKey(d *pb.SimulateRetentionResponse_Decision) string {
	return d.GetDigest() + " " + d.GetTag()
}

func totalOf(repository string, e evaluate.Evaluation) *pb.SimulateRetentionResponse_RepositoryTotal {
	gone := func(verdicts []retention.Verdict) int64 {
		n := int64(0)
		for _, v := range verdicts {
			if v.Goes {
				n++
			}
		}
		return n
	}
	return &pb.SimulateRetentionResponse_RepositoryTotal{
		Repository: repository, Tags: int64(len(e.Content.Tags)), Manifests: int64(len(e.Content.Manifests)),
		DeletedTags: gone(e.Result.Tags), DeletedManifests: gone(e.Result.Manifests), DeletedBytes: e.Bytes, Protected: e.Protected(),
	}
}
