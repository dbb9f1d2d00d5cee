package registry

import (
	"context"
	"net/http"

	"github.com/berth-registry/berth/services/internal/answer"
	"github.com/berth-registry/berth/services/internal/front"
)

func decodeListReferrers(ctx context.Context, _ *http.Request) (ListReferrers, error) {
	c := front.CallOf(ctx)
	artifactType, p, err := answer.ReferrersPage(c)
	return ListReferrers{Repo: c.Repo(), Subject: c.Route.Digest, ArtifactType: artifactType, Page: p}, err
}
