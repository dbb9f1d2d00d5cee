package admin

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

const (
	// longestSearch is how many bytes may be looked for.
	longestSearch = meta.LongestSearchTerm
	// searchBatch is how many entries are read at once.
	searchBatch = 1000
	// mostSearched is how often a page reads at most: it costs the same whatever is hidden
	// of what was found, and may be short.
	mostSearched = 3
)

// searchTypes are the kinds of results.
var searchTypes = map[meta.SearchKind]pb.SearchResult_Type{
	meta.SearchRepository:   pb.SearchResult_REPOSITORY,
	meta.SearchTag:          pb.SearchResult_TAG,
	meta.SearchDigest:       pb.SearchResult_DIGEST,
	meta.SearchArtifactType: pb.SearchResult_ARTIFACT_TYPE,
	meta.SearchAnnotation:   pb.SearchResult_ANNOTATION,
	meta.SearchLabel:        pb.SearchResult_LABEL,
	meta.SearchPlatform:     pb.SearchResult_PLATFORM,
}

// SearchContent finds content by its names.
func (s *Service) SearchContent(ctx context.Context, req *pb.SearchContentRequest) (*pb.SearchContentResponse, error) {
	t, err := s.findTenant(ctx, "name", req.GetName())
	if err != nil {
		return nil, err
	}
	q, err := searchQuery(req)
	if err != nil {
		return nil, err
	}
	size, err := pageSize(req)
	if err != nil {
		return nil, err
	}
	list := fmt.Sprintf("search %v %q", q.Kinds, q.Text)
	token, err := s.pages.secret().open(list, req.GetName(), req.GetPageToken())
	if err != nil {
		return nil, err
	}
	if q.After, err = parseSearchPosition(token); err != nil {
		return nil, err
	}
	v, err := s.viewOf(ctx, req.GetName())
	if err != nil {
		return nil, err
	}
	f := contentSearch{service: s, ctx: ctx, tenant: t.ID, view: v, size: size, registries: map[string]func(string) access.Actions{}}
	next, more, err := f.run(q)
	if err != nil {
		return nil, err
	}
	m := &pb.SearchContentResponse{Results: mapped(f.found, func(h meta.SearchHit) *pb.SearchResult {
		result := &pb.SearchResult{
			Type: searchTypes[h.At.Kind], Tag: h.Tag, Digest: h.Digest.String(),
			Repository: req.GetName() + "/registries/" + h.Registry + "/repositories/" + h.Repository,
		}
		if h.At.Kind > meta.SearchDigest {
			result.Text = h.At.Term
		}
		return result
	})}
	if more {
		m.NextPageToken = s.pages.secret().seal(list, req.GetName(), formatSearchPosition(next))
	}
	return m, nil
}

// searchQuery is what a request looks for.
func searchQuery(req *pb.SearchContentRequest) (meta.SearchQuery, error) {
	q := meta.SearchQuery{Text: req.GetQuery(), Kinds: meta.SearchKinds}
	switch {
	case q.Text == "":
		return q, invalid("query", "it is missing: …:search?query=nginx")
	case len(q.Text) > longestSearch:
		return q, invalid("query", "it is longer than %d bytes", longestSearch)
	case len(req.GetTypes()) == 0:
		return q, nil
	}
	for _, one := range req.GetTypes() {
		if one == pb.SearchResult_TYPE_UNSPECIFIED || pb.SearchResult_Type_name[int32(one)] == "" {
			return q, invalid("types", "%s is not a type of results", one)
		}
	}
	q.Kinds = slices.DeleteFunc(slices.Clone(q.Kinds), func(k meta.SearchKind) bool { return !slices.Contains(req.GetTypes(), searchTypes[k]) })
	return q, nil
}

// contentSearch is one page of a search.
type contentSearch struct {
	service    *Service
	ctx        context.Context //nolint:containedctx // of the one request
	tenant     tenant.ID
	view       view
	size       int
	registries map[string]func(repository string) access.Actions // what the caller may do there
	found      []meta.SearchHit
}

// run reads until the page is full or enough was read. It returns where the next page
// begins, and whether there is one.
func (f *contentSearch) run(q meta.SearchQuery) (meta.SearchPosition, bool, error) {
	q.Size = searchBatch
	if f.view.all {
		q.Size = f.size + 1 // one more says whether there is a next page
	}
	for range mostSearched {
		page, err := f.service.store.Search(f.ctx, f.tenant, q)
		if err != nil {
			return q.After, false, err
		}
		for _, h := range page.Hits {
			seen, err := f.sees(h)
			switch {
			case err != nil:
				return q.After, false, err
			case !seen:
				continue
			case len(f.found) == f.size:
				return f.found[f.size-1].At, true, nil
			}
			f.found = append(f.found, h)
		}
		q.After = page.Next
		if !page.More {
			return q.After, false, nil
		}
	}
	return q.After, true, nil
}

// sees reports whether the caller sees the repository of a result, and may pull where the
// result is what a manifest or config says.
func (f *contentSearch) sees(h meta.SearchHit) (bool, error) {
	if f.view.all {
		return true, nil
	}
	may, known := f.registries[h.Registry]
	if !known {
		r, err := f.service.store.FindRegistry(f.ctx, f.tenant, h.Registry)
		switch {
		case fault.Is(err, fault.ResourceUnknown): // it is being deleted
			may = func(string) access.Actions { return 0 }
		case err != nil:
			return false, err
		default:
			rights := f.view.in(r)
			may = rights.Allowed
		}
		f.registries[h.Registry] = may
	}
	needs := visible
	if h.At.Kind > meta.SearchDigest {
		needs = access.Pull
	}
	return may(h.Repository)&needs != 0, nil
}

// formatSearchPosition is short enough for a secret page token.
func formatSearchPosition(p meta.SearchPosition) string {
	return fmt.Sprintf("%d %d %d %d %s%s", p.Rank, p.Kind, p.Repo, len(p.Term), p.Term, p.Subject)
}

func parseSearchPosition(token string) (meta.SearchPosition, error) {
	var p meta.SearchPosition
	if token == "" {
		return p, nil
	}
	parts := strings.SplitN(token, " ", 5)
	if len(parts) == 5 {
		rank, err1 := strconv.Atoi(parts[0])
		kind, err2 := strconv.Atoi(parts[1])
		repo, err3 := strconv.ParseInt(parts[2], 10, 64)
		length, err4 := strconv.Atoi(parts[3])
		if err1 == nil && err2 == nil && err3 == nil && err4 == nil && length >= 0 && length <= len(parts[4]) {
			return meta.SearchPosition{
				Rank: meta.SearchRank(rank), Kind: meta.SearchKind(kind), Repo: repo, Term: parts[4][:length], Subject: parts[4][length:],
			}, nil
		}
	}
	return p, fault.New(fault.Invalid, fault.PageTokenInvalid, "the page token was not issued by this list").WithField("page_token")
}
