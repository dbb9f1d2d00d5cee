package upstream

import (
	"context"
	"net/http"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/oci"
)

// Referrer is a manifest with a subject.
type Referrer struct {
	Descriptor
	ArtifactType string
	Annotations  map[string]string
}

// Referrers lists the referrers of d (distribution-spec, "Listing Referrers"); the
// manifest d need not exist. More than limit are an Outage.
//
// If the upstream lacks that API, it reads the tag in which clients keep the list
// ("Unavailable Referrers API"). GitHub lacks it, and redirects to a web page
// instead of a 404.
func (c *Client) Referrers(ctx context.Context, name string, d oci.Digest, limit int) ([]Referrer, error) {
	return anywhere(ctx, c, func(c *Client) ([]Referrer, error) { return c.referrers(ctx, name, d, limit) })
}

func (c *Client) referrers(ctx context.Context, name string, d oci.Digest, limit int) ([]Referrer, error) {
	if err := oci.CheckName(name); err != nil {
		return nil, err
	}
	p := pages{client: c, budget: maxList, rq: request{
		method: http.MethodGet, name: name, path: "referrers/" + d.String(), accept: oci.MediaTypeImageIndex,
		missing: fault.ManifestUnknown, limit: oci.MaxManifest, optional: true,
	}}
	var all []Referrer
	for p.more() {
		known := true
		err := p.fetchNext(ctx, func(a answer) error {
			if known = mediaTypeOf(a.header) == oci.MediaTypeImageIndex; !known {
				return nil
			}
			page, err := c.referrersIn(a.body)
			all = append(all, page...)
			return err
		})
		switch {
		case p.count == 0 && OutcomeOf(err) == NotHere, p.count == 1 && !known:
			return c.referrersByTag(ctx, name, d, limit)
		case !known:
			return nil, c.outage(nil, "sent a page of referrers that is not an index")
		case err != nil:
			return nil, err
		case len(all) > limit:
			return nil, c.tooManyReferrers(limit)
		}
	}
	return all, nil
}

func (c *Client) referrersByTag(ctx context.Context, name string, d oci.Digest, limit int) ([]Referrer, error) {
	const longest = 64 // of the digest, by the spec
	tag := string(d.Algorithm()) + "-" + d.Hex()[:min(longest, len(d.Hex()))]
	m, err := c.getManifest(ctx, name, oci.Reference{Tag: tag})
	switch {
	case OutcomeOf(err) == NotHere:
		return nil, nil
	case err != nil:
		return nil, err
	case oci.DigestOf(d.Algorithm(), m.Payload) == d:
		return nil, nil // GitLab reads the tag as the digest, and returns the subject itself
	}
	all, err := c.referrersIn(m.Payload)
	if err == nil && len(all) > limit {
		return nil, c.tooManyReferrers(limit)
	}
	return all, err
}

func (c *Client) referrersIn(body []byte) ([]Referrer, error) {
	index, err := oci.ParseManifest(oci.MediaTypeImageIndex, body)
	if err != nil {
		return nil, c.outage(err, "sent a list of referrers that cannot be used: %s", fault.From(err).Message)
	}
	list := make([]Referrer, 0, len(index.Children))
	for _, m := range index.Children {
		list = append(list, Referrer{
			Descriptor:   Descriptor{Digest: m.Digest, MediaType: m.MediaType, Size: m.Size},
			ArtifactType: m.ArtifactType, Annotations: m.Annotations,
		})
	}
	return list, nil
}

func (c *Client) tooManyReferrers(limit int) error {
	return c.outage(nil, "has more than %d referrers of a manifest", limit)
}
