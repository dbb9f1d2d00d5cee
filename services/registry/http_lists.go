package registry

import (
	"context"
	"net/http"

	"github.com/berth-registry/berth/services/internal/answer"
	"github.com/berth-registry/berth/services/internal/front"
)

func decodeListTags(ctx context.Context, _ *http.Request) (ListTags, error) {
	c := front.CallOf(ctx)
	p, err := answer.Page(c)
	return ListTags{Repo: c.Repo(), Page: p}, err
}

func decodeListRepositories(ctx context.Context, _ *http.Request) (ListRepositories, error) {
	c := front.CallOf(ctx)
	p, err := answer.Page(c)
	return ListRepositories{Tenant: c.Site.Tenant, Registry: c.Site.Registry, Page: p}, err
}
