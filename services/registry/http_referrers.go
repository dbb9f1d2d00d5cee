package registry

import (
	"context"
	"net/http"
	"net/url"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/services/internal/front"
	"github.com/berth-registry/berth/services/internal/kit"
)

func decodeListReferrers(ctx context.Context, _ *http.Request) (ListReferrers, error) {
	c := front.CallOf(ctx)
	p, err := decodePage(c)
	if err != nil {
		return ListReferrers{}, err
	}
	if len(c.Query["artifactType"]) > 1 {
		return ListReferrers{}, fault.New(fault.Invalid, fault.RequestInvalid, "artifactType is given more than once").WithField("artifactType")
	}
	if p.After != "" {
		// This list is in the order of digests, so nothing else can be its last entry.
		if _, err := oci.ParseDigest(p.After); err != nil {
			return ListReferrers{}, err
		}
	}
	return ListReferrers{Repo: c.Repo(), Subject: c.Route.Digest, ArtifactType: c.Query.Get("artifactType"), Page: p}, nil
}

// encodeReferrers writes an image index of the referrers (distribution-spec,
// "Listing Referrers").
func encodeReferrers(ctx context.Context, w http.ResponseWriter, found Referrers) error {
	b, err := json.Marshal(struct {
		SchemaVersion int              `json:"schemaVersion"`
		MediaType     string           `json:"mediaType"`
		Manifests     []jsontext.Value `json:"manifests"`
	}{2, oci.MediaTypeImageIndex, found.Descriptors})
	if err != nil {
		return err
	}
	h := w.Header()
	filter := url.Values{}
	if t := front.CallOf(ctx).Query.Get("artifactType"); t != "" {
		h.Set("OCI-Filters-Applied", "artifactType")
		filter.Set("artifactType", t)
	}
	if found.More && found.Last != "" {
		linkNext(ctx, h, found.Last.String(), filter)
	}
	h.Set("Content-Type", oci.MediaTypeImageIndex)
	kit.ServeBytes(ctx, w, b)
	return nil
}
