package registry

import (
	"net/http"
	"slices"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/ocihttp"
	"github.com/berth-registry/berth/services/internal/front"
	"github.com/berth-registry/berth/services/internal/kit"
	"github.com/berth-registry/berth/services/internal/respond"
)

// rules says who may do what. An operation that is missing here does not start.
var rules = map[string]front.Rule{
	"GetManifest":      front.Needs(access.Pull),
	"PutManifest":      front.Needs(access.Push),
	"DeleteManifest":   front.Needs(access.Delete),
	"DeleteTag":        front.Needs(access.Delete),
	"ListTags":         front.Needs(access.Pull),
	"ListReferrers":    front.Needs(access.Pull),
	"ListRepositories": front.NeedsCatalog,
	"OpenBlob":         front.Needs(access.Pull),
	"StatBlob":         front.Needs(access.Pull),
	"DeleteBlob":       front.Needs(access.Delete),
}

// NewHandler serves the operations over HTTP, behind a front. What a registry
// with a group does not host, and its lists, are proxy's to answer, which decides
// rights itself. mw go around each operation, the first outermost; the rules are
// decided inside.
func NewHandler(s *Service, proxy http.Handler, mw ...kit.Middleware) http.Handler {
	mw = append(slices.Clip(mw), front.Access(rules), s.guard.Around("PutManifest"))
	fail := kit.Errors(front.WriteError)
	proxy = front.BeforeProxy(proxy)
	failPull := kit.Errors(orElse(proxy))

	getManifest := kit.Handler(kit.Wrap("GetManifest", s.GetManifest, mw...), decodeGetManifest, respond.Limited(s.budget, respond.ManifestSize, respond.WriteManifest), failPull)
	putManifest := kit.Handler(kit.Wrap("PutManifest", s.PutManifest, mw...), decodePutManifest, encodePutManifest, fail)
	deleteManifest := kit.Handler(kit.Wrap("DeleteManifest", s.DeleteManifest, mw...), decodeDeleteManifest, encodeAccepted, fail)
	deleteTag := kit.Handler(kit.Wrap("DeleteTag", s.DeleteTag, mw...), decodeDeleteTag, encodeAccepted, fail)
	openBlob := kit.Handler(kit.Wrap("OpenBlob", s.OpenBlob, mw...), decodeOpenBlob, s.blobs.Send, failPull)
	statBlob := kit.Handler(kit.Wrap("StatBlob", s.StatBlob, mw...), decodeStatBlob, respond.WriteBlobHead, failPull)
	deleteBlob := kit.Handler(kit.Wrap("DeleteBlob", s.DeleteBlob, mw...), decodeDeleteBlob, encodeAccepted, fail)
	listTags := kit.Handler(kit.Wrap("ListTags", s.ListTags, mw...), decodeListTags, respond.Limited(s.budget, respond.NamesSize, respond.WriteTags), fail)
	listReferrers := kit.Handler(kit.Wrap("ListReferrers", s.ListReferrers, mw...), decodeListReferrers, respond.Limited(s.budget, respond.ReferrersSize, respond.WriteReferrers), fail)
	listRepositories := kit.Handler(kit.Wrap("ListRepositories", s.ListRepositories, mw...), decodeListRepositories, respond.Limited(s.budget, respond.NamesSize, respond.WriteCatalog), fail)

	return front.Endpoints{
		ocihttp.Manifest: {
			http.MethodGet: getManifest, http.MethodHead: getManifest, http.MethodPut: putManifest,
			http.MethodDelete: byReference(deleteManifest, deleteTag),
		},
		ocihttp.Blob:      {http.MethodGet: openBlob, http.MethodHead: statBlob, http.MethodDelete: deleteBlob},
		ocihttp.Tags:      lists(merged(proxy, listTags)),
		ocihttp.Referrers: lists(merged(proxy, listReferrers)),
		ocihttp.Catalog:   lists(listRepositories),
	}
}

// lists are the methods of a list.
func lists(h http.Handler) front.Methods {
	return front.Methods{http.MethodGet: h, http.MethodHead: h}
}

// byReference picks by what the path names a manifest by: its deletion and
// that of a tag are two operations (distribution-spec, "Content Management").
func byReference(digest, tag http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if front.CallOf(r.Context()).Route.Reference.Digest != "" {
			digest.ServeHTTP(w, r)
		} else {
			tag.ServeHTTP(w, r)
		}
	})
}
