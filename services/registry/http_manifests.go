package registry

import (
	"context"
	"net/http"
	"slices"
	"strconv"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/ocihttp"
	"github.com/berth-registry/berth/services/internal/front"
	"github.com/berth-registry/berth/services/internal/kit"
)

func decodeGetManifest(ctx context.Context, _ *http.Request) (GetManifestRequest, error) {
	c := front.CallOf(ctx)
	return GetManifestRequest{Repo: c.Repo(), Reference: c.Route.Reference}, nil
}

// decodePutManifest takes tags from the query besides the reference
// (distribution-spec main, "Pushing Manifests", tag parameters).
func decodePutManifest(ctx context.Context, r *http.Request) (PutManifestRequest, error) {
	c := front.CallOf(ctx)
	tags := slices.Compact(slices.Sorted(slices.Values(c.Query["tag"])))
	for _, tag := range tags {
		if err := oci.CheckTag(tag); err != nil {
			return PutManifestRequest{}, err
		}
	}
	adoptFor := ""
	if mayAdopt(c) {
		adoptFor = c.Site.RegistrySlug
	}
	return PutManifestRequest{
		Repo:                   c.Repo(),
		Reference:              c.Route.Reference,
		Tags:                   tags,
		ContentType:            r.Header.Get("Content-Type"),
		Body:                   r.Body,
		Length:                 r.ContentLength,
		AllowMissingReferences: c.Site.Settings.AllowMissingReferences,
		AdoptFor:               adoptFor,
		By:                     c.Cause(ctx),
	}, ocihttp.CheckContentEncoding(r)
}

func encodePutManifest(_ context.Context, w http.ResponseWriter, s PutManifestResponse) error {
	h := w.Header()
	h.Set("Location", ocihttp.Route{Kind: ocihttp.Manifest, Name: s.Repo.Name, Reference: oci.Reference{Digest: s.Digest}}.Path())
	h.Set("Docker-Content-Digest", s.Digest.String())
	for _, tag := range s.Tags {
		h.Add("OCI-Tag", tag)
	}
	if s.Subject != "" {
		h.Set("OCI-Subject", s.Subject.String())
	}
	h.Set("Content-Length", "0")
	w.WriteHeader(http.StatusCreated)
	return nil
}

// decodeDeleteManifest takes "force=true" from the query: the manifest goes
// although an index names it.
func decodeDeleteManifest(ctx context.Context, _ *http.Request) (meta.ManifestDelete, error) {
	c := front.CallOf(ctx)
	force := false
	if value := c.Query.Get("force"); value != "" {
		var err error
		if force, err = strconv.ParseBool(value); err != nil {
			return meta.ManifestDelete{}, fault.New(fault.Invalid, fault.RequestInvalid, "force is true or false, not %q", value).WithField("force")
		}
	}
	return meta.ManifestDelete{
		Repo:      c.Repo(),
		Digest:    c.Route.Reference.Digest,
		By:        c.Cause(ctx),
		Referrers: c.Site.Settings.DeleteReferrers,
		Force:     force,
	}, nil
}

func decodeDeleteTag(ctx context.Context, _ *http.Request) (DeleteTagRequest, error) {
	c := front.CallOf(ctx)
	return DeleteTagRequest{Repo: c.Repo(), Tag: c.Route.Reference.Tag, By: c.Cause(ctx)}, nil
}

// encodeAccepted answers deletions.
func encodeAccepted(_ context.Context, w http.ResponseWriter, _ kit.Empty) error {
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(http.StatusAccepted)
	return nil
}
