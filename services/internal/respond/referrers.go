package respond

import (
	"context"
	"net/http"
	"net/url"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/services/internal/front"
	"github.com/berth-registry/berth/services/internal/kit"
)

// MaxReferrers is how many bytes of descriptors a page of referrers has at most
// (contract row D4): annotations make a referrer anything from 200 bytes to 4
// MiB.
const MaxReferrers = 4 << 20

// ReferrersResponse is one page of referrers in the order of their digests.
type ReferrersResponse struct {
	Descriptors []jsontext.Value // as they stand in the index
	Last        oci.Digest       // of the last descriptor
	More        bool
	size        int // bytes, with the commas
}

// Take puts a referrer on a page of n, and says whether there was room: if not,
// there are More.
func (r *ReferrersResponse) Take(row meta.Referrer, n int) (bool, error) {
	d, err := encodeReferrer(row)
	if err != nil {
		return false, err
	}
	// The first one has its place whatever its size, or the list ended here.
	if full := r.size+len(d) > MaxReferrers && r.Descriptors != nil; full || len(r.Descriptors) == n {
		r.More = true
		return false, nil
	}
	r.size += len(d) + 1
	r.Descriptors = append(r.Descriptors, d)
	r.Last = row.Digest
	return true, nil
}

// Size is how many bytes the descriptors have.
func (r ReferrersResponse) Size() int { return r.size }

// TrimReferrers is the page of n from rows, of which there is one more where there
// is another page.
func TrimReferrers(rows []meta.Referrer, n int) (ReferrersResponse, error) {
	var page ReferrersResponse
	for _, row := range rows {
		if ok, err := page.Take(row, n); err != nil || !ok {
			return page, err
		}
	}
	return page, nil
}

// EndedEarly says whether the store ended a page of n rows before it had them all, since
// they are large (meta.MaxReferrerBytes).
func EndedEarly(rows []meta.Referrer, n int) bool {
	size := int64(0)
	for _, r := range rows {
		size += r.Size
	}
	return size >= meta.MaxReferrerBytes && len(rows) != n
}

// encodeReferrer leaves the annotations out where they alone would fill a
// page: they are in the manifest, and a page without entries never ends.
func encodeReferrer(r meta.Referrer) (jsontext.Value, error) {
	d := oci.Descriptor{MediaType: r.MediaType, Digest: r.Digest, Size: r.Size, ArtifactType: r.ArtifactType, Annotations: r.Annotations}
	b, err := json.Marshal(d, json.Deterministic(true))
	if err == nil && len(b) > MaxReferrers {
		d.Annotations = nil
		b, err = json.Marshal(d)
	}
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, fault.InternalReason, "a referrer could not be listed")
	}
	return b, nil
}

// ReferrersSize is what sending the list takes.
func ReferrersSize(r ReferrersResponse) int64 { return int64(r.size) }

// ReferrersPage reads what a list of referrers is asked for: the artifact type,
// empty for all, and the page.
func ReferrersPage(c *front.Call) (string, meta.Page, error) {
	p, err := Page(c)
	if err != nil {
		return "", p, err
	}
	if len(c.Query["artifactType"]) > 1 {
		return "", p, fault.New(fault.Invalid, fault.RequestInvalid, "artifactType is given more than once").WithField("artifactType")
	}
	if p.After != "" {
		// This list is in the order of digests, so nothing else can be its last entry.
		if _, err := oci.ParseDigest(p.After); err != nil {
			return "", p, err
		}
	}
	return c.Query.Get("artifactType"), p, nil
}

// WriteReferrers writes an image index of the referrers (distribution-spec,
// "Listing Referrers").
func WriteReferrers(ctx context.Context, w http.ResponseWriter, found ReferrersResponse) error {
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
	kit.ServeBytes(ctx, w, append(b, '\n'))
	return nil
}
