package registry

import (
	"context"
	"net/http"

	"github.com/berth-registry/berth/services/internal/front"
	"github.com/berth-registry/berth/services/internal/respond"
)

func decodeListReferrers(ctx context.Context, _ *http.Request) (ListReferrersRequest, error) {
	c := front.CallOf(ctx)
	artifactType, p, err := respond.ReferrersPage(c)
	return ListReferrersRequest{Repo: c.Repo(), Subject: c.Route.Digest, ArtifactType: artifactType, Page: p}, err
}
