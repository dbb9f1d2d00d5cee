package registry

import (
	"context"
	"net/http"

	"github.com/berth-registry/berth/services/internal/front"
	"github.com/berth-registry/berth/services/internal/respond"
)

func decodeListTags(ctx context.Context, _ *http.Request) (ListTagsRequest, error) {
	c := front.CallOf(ctx)
	p, err := respond.Page(c)
	return ListTagsRequest{Repo: c.Repo(), Page: p}, err
}

func decodeListRepositories(ctx context.Context, _ *http.Request) (ListRepositoriesRequest, error) {
	c := front.CallOf(ctx)
	p, err := respond.Page(c)
	return ListRepositoriesRequest{Tenant: c.Site.Tenant, Registry: c.Site.Registry, Page: p}, err
}
