package proxy

import (
	"context"
	"slices"
	"sort"
	"time"

	"github.com/hashicorp/golang-lru/v2/expirable"

	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/services/internal/answer"
)

// Limits of what upstreams list. Longer lists are cut; lists up to rememberedTags
// are remembered for a while.
const (
	maxTags         = 100_000
	rememberedTags  = 10_000
	rememberedLists = 256
	listsLife       = time.Hour // they are answered for so long while an upstream is out
)

// lists remembers what upstreams listed.
type lists struct {
	known *expirable.LRU[string, list]
}

// list is what an upstream listed, and when.
type list struct {
	tags      []string
	referrers []meta.Referrer
	said      time.Time
}

func newLists() *lists {
	return &lists{expirable.NewLRU[string, list](rememberedLists, nil, listsLife)}
}

// ListTags asks for one page of a repository's tags at all members.
type ListTags struct {
	Ask
	Page meta.Page
}

// ListTags merges what the members list: sorted, each once. The name's own
// registries alone are asked for a name that is the tenant's own.
func (s *Service) ListTags(ctx context.Context, req ListTags) (answer.Names, error) {
	ctx, asked, err := s.follow(ctx, req.Ask)
	if err != nil {
		return answer.Names{}, err
	}
	page := answer.OneMore(req.Page)
	var merged []string
	known := false
	collect := func(names []string, err error) error {
		if err != nil {
			return err
		}
		known = true
		merged = append(merged, names...)
		return errNotHere // the others have more
	}
	if req.Upstream == "" {
		own := meta.Repo{Tenant: asked.Tenant, Registry: asked.chain.Registries[0], Name: asked.Name}
		if err := collect(s.meta.ListTags(ctx, own, page)); outcomeOf(err) != chain.NotHere {
			return answer.Names{}, err
		}
	}
	w := &walk[struct{}]{
		Service: s, asked: asked,
		hosted: func(ctx context.Context, r meta.Repo) (struct{}, error) {
			return struct{}{}, collect(s.meta.ListTags(ctx, r, page))
		},
		remote: func(ctx context.Context, r remote) (struct{}, error) {
			return struct{}{}, collect(r.tags(ctx, page))
		},
	}
	unknown := fault.New(fault.NotFound, fault.NameUnknown, "repository %s is not known to this registry, nor to those that it asks", asked.Name)
	if _, err := w.run(ctx, errNotHere); outcomeOf(err) != chain.NotHere {
		return answer.Names{}, failure(err)
	}
	if !known {
		return answer.Names{}, unknown
	}
	slices.Sort(merged)
	merged = slices.Compact(merged)
	return answer.PageOf(merged[:min(len(merged), page.Size)], req.Page.Size), nil
}

// tags is a page of what the upstream lists.
func (r remote) tags(ctx context.Context, p meta.Page) ([]string, error) {
	l, err := r.list(ctx, "tags", func(ctx context.Context) (list, error) {
		tags, err := r.client.AllTags(ctx, r.repo.Name, maxTags)
		slices.Sort(tags)
		return list{tags: slices.Compact(tags)}, err
	})
	if err != nil {
		return nil, err
	}
	from := sort.SearchStrings(l.tags, p.After)
	if from < len(l.tags) && l.tags[from] == p.After {
		from++
	}
	return l.tags[from:min(from+p.Size, len(l.tags))], nil
}

// list answers what the upstream listed a while ago, what it lists now, or, when
// it is out, what it listed last.
func (r remote) list(ctx context.Context, what string, fetch func(ctx context.Context) (list, error)) (list, error) {
	key := r.key(what)
	before, known := r.lists.known.Get(key)
	if known && r.now().Sub(before.said) < r.upstream.Settings.TagTTL {
		return before, nil
	}
	if _, absent := r.absent.find(key, r.now()); absent {
		return list{}, errNotHere
	}
	now, err := once(ctx, r, what, fetch)
	switch outcomeOf(err) {
	case chain.Found:
		now.said = r.now()
		if len(now.tags)+len(now.referrers) <= rememberedTags {
			r.lists.known.Add(key, now)
		}
		return now, nil
	case chain.NotHere:
		r.lists.known.Remove(key)
		r.absent.add(key, r.now(), r.upstream.Settings.NegativeTTL)
	case chain.Outage:
		if known && r.upstream.Settings.StaleIfError > 0 {
			return before, nil
		}
	}
	return list{}, err
}
