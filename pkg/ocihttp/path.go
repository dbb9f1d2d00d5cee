// Package ocihttp is the HTTP part of package oci: the path grammar of the
// distribution-spec, its ranges, pages and links, and the one place that turns
// faults into its error body.
package ocihttp

import (
	"strings"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/oci"
)

// Kind is the endpoint of a path (distribution-spec, "Endpoints").
type Kind uint8

// The endpoints. The zero Kind is invalid.
const (
	Base        Kind = iota + 1 // /v2/
	Catalog                     // /v2/_catalog
	Manifest                    // /v2/<name>/manifests/<reference>
	Blob                        // /v2/<name>/blobs/<digest>
	UploadStart                 // /v2/<name>/blobs/uploads/
	Upload                      // /v2/<name>/blobs/uploads/<id>
	Tags                        // /v2/<name>/tags/list
	Referrers                   // /v2/<name>/referrers/<digest>
	Search                      // /v1/search, of docker search
)

// String is the endpoint's name, for logs and metrics.
func (k Kind) String() string {
	switch k {
	case Base:
		return "base"
	case Catalog:
		return "catalog"
	case Manifest:
		return "manifest"
	case Blob:
		return "blob"
	case UploadStart:
		return "upload-start"
	case Upload:
		return "upload"
	case Tags:
		return "tags"
	case Referrers:
		return "referrers"
	case Search:
		return "search"
	default:
		return "none"
	}
}

// Route is a parsed path. Which fields are set follows from Kind.
type Route struct {
	Kind      Kind
	Name      string        // all but Base, Catalog and Search
	Reference oci.Reference // Manifest
	Digest    oci.Digest    // Blob, Referrers
	Upload    uuid.UUID     // Upload
}

const (
	prefix     = "/v2/"
	searchPath = "/v1/search"
)

// ParsePath parses an escaped path, as url.URL.EscapedPath returns it. It does not
// decode escapes, so "a%2Fb" is not a name. The only exception is %3A for the colon
// of a digest.
//
// A name may contain the keywords of the grammar as components, so the path is
// parsed from its end, where it is unambiguous.
//
// Errors: kind NotFound for a path that is not an endpoint; fault.NameInvalid and
// fault.DigestInvalid, kind Invalid; fault.TagInvalid, but of kind NotFound, as the
// spec requires 404 for a manifest that cannot exist; fault.BlobUploadUnknown for a
// malformed upload id.
func ParsePath(escaped string) (Route, error) {
	if escaped == "/v2" || escaped == prefix {
		return Route{Kind: Base}, nil
	}
	if escaped == searchPath {
		return Route{Kind: Search}, nil
	}
	rest, ok := strings.CutPrefix(escaped, prefix)
	if !ok {
		return Route{}, noEndpoint()
	}
	if rest == "_catalog" {
		return Route{Kind: Catalog}, nil
	}
	rest, last := cutLast(rest)
	name, noun := cutLast(rest)
	switch {
	case noun == "manifests":
		return parseManifest(name, last)
	case noun == "referrers":
		return parseDigest(Referrers, name, last)
	case noun == "tags" && last == "list":
		return named(Route{Kind: Tags, Name: name})
	case noun == "blobs" && last == "uploads":
		return named(Route{Kind: UploadStart, Name: name})
	case noun == "blobs":
		return parseDigest(Blob, name, last)
	case noun == "uploads":
		if name, noun = cutLast(name); noun == "blobs" {
			return parseUpload(name, last)
		}
	}
	if strings.Contains(rest, ":") {
		// Only digests have colons, so this is a digest with slashes in it.
		return Route{}, fault.New(fault.Invalid, fault.DigestInvalid, "a digest is the last part of its path")
	}
	return Route{}, noEndpoint()
}

// Path is the canonical path of the route, the inverse of ParsePath. It is empty
// for the zero Route.
func (r Route) Path() string {
	switch r.Kind {
	case Base:
		return prefix
	case Catalog:
		return prefix + "_catalog"
	case Manifest:
		return prefix + r.Name + "/manifests/" + r.Reference.String()
	case Blob:
		return prefix + r.Name + "/blobs/" + r.Digest.String()
	case UploadStart:
		return prefix + r.Name + "/blobs/uploads/"
	case Upload:
		return prefix + r.Name + "/blobs/uploads/" + r.Upload.String()
	case Tags:
		return prefix + r.Name + "/tags/list"
	case Referrers:
		return prefix + r.Name + "/referrers/" + r.Digest.String()
	case Search:
		return searchPath
	default:
		return ""
	}
}

func parseManifest(name, reference string) (Route, error) {
	ref, err := oci.ParseReference(unescapeColon(reference))
	switch {
	case err == nil:
	case fault.Is(err, fault.TagInvalid):
		return Route{}, fault.New(fault.NotFound, fault.TagInvalid, "%s", fault.From(err).Message)
	default:
		return Route{}, err
	}
	return named(Route{Kind: Manifest, Name: name, Reference: ref})
}

func parseDigest(k Kind, name, digest string) (Route, error) {
	d, err := oci.ParseDigest(unescapeColon(digest))
	if err != nil {
		return Route{}, err
	}
	return named(Route{Kind: k, Name: name, Digest: d})
}

func parseUpload(name, id string) (Route, error) {
	if id == "" {
		return named(Route{Kind: UploadStart, Name: name})
	}
	const canonical = 36 // uuid.Parse also accepts other spellings, of other lengths
	u, err := uuid.Parse(id)
	if err != nil || len(id) != canonical {
		return Route{}, fault.New(fault.NotFound, fault.BlobUploadUnknown, "upload session not found")
	}
	return named(Route{Kind: Upload, Name: name, Upload: u})
}

// named checks the name last, so that it is checked in one place.
func named(r Route) (Route, error) {
	if err := oci.CheckName(r.Name); err != nil {
		return Route{}, err
	}
	return r, nil
}

// cutLast splits at the last slash. Without one, all of s is the last part.
func cutLast(s string) (string, string) {
	i := strings.LastIndexByte(s, '/')
	return s[:max(i, 0)], s[i+1:]
}

// unescapeColon decodes the one escape that clients are known to send, which RFC
// 3986 allows.
func unescapeColon(s string) string {
	if !strings.Contains(s, "%3") {
		return s
	}
	return strings.Replace(strings.Replace(s, "%3A", ":", 1), "%3a", ":", 1)
}

func noEndpoint() error {
	return fault.New(fault.NotFound, fault.ResourceUnknown, "the distribution API has no such endpoint")
}
