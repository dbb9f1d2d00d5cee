package registry

import (
	"slices"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/services/internal/front"
	"github.com/berth-registry/berth/services/internal/kit"
	"github.com/berth-registry/berth/services/internal/respond"
)

// rules are the required rights. An operation without a rule does not start.
var rules = map[string]front.Rule{
	"GetManifest":      front.Needs(access.Pull),
	"PutManifest":      front.Needs(access.Push),
	"DeleteManifest":   front.Needs(access.Delete),
	"DeleteTag":        front.Needs(access.Delete),
	"ListTags":         front.Needs(access.Pull),
	"ListReferrers":    front.Needs(access.Pull),
	"ListRepositories": front.NeedsCatalog,
	"Search":           front.NeedsCatalog,
	"OpenBlob":         front.Needs(access.Pull),
	"StatBlob":         front.Needs(access.Pull),
	"DeleteBlob":       front.Needs(access.Delete),
}

// endpoints are the operations with their middlewares around them.
type endpoints struct {
	getManifest      kit.Op[GetManifestRequest, meta.Manifest]
	putManifest      kit.Op[PutManifestRequest, PutManifestResponse]
	deleteManifest   kit.Op[DeleteManifestRequest, kit.Empty]
	deleteTag        kit.Op[DeleteTagRequest, kit.Empty]
	listTags         kit.Op[ListTagsRequest, respond.NamesResponse]
	listReferrers    kit.Op[ListReferrersRequest, respond.ReferrersResponse]
	listRepositories kit.Op[ListRepositoriesRequest, respond.NamesResponse]
	search           kit.Op[SearchRequest, SearchResponse]
	openBlob         kit.Op[OpenBlobRequest, respond.OpenBlobResponse]
	statBlob         kit.Op[StatBlobRequest, meta.Blob]
	deleteBlob       kit.Op[DeleteBlobRequest, kit.Empty]
}

// newEndpoints puts mw around each operation, the first outermost. The rules are
// inside them, and the guard of pushes is inside the rules.
func newEndpoints(s *Service, mw []kit.Middleware) endpoints {
	mw = append(slices.Clip(mw), front.Access(rules), s.guard.Around("PutManifest"))
	return endpoints{
		getManifest:      kit.Wrap("GetManifest", s.GetManifest, mw...),
		putManifest:      kit.Wrap("PutManifest", s.PutManifest, mw...),
		deleteManifest:   kit.Wrap("DeleteManifest", s.DeleteManifest, mw...),
		deleteTag:        kit.Wrap("DeleteTag", s.DeleteTag, mw...),
		listTags:         kit.Wrap("ListTags", s.ListTags, mw...),
		listReferrers:    kit.Wrap("ListReferrers", s.ListReferrers, mw...),
		listRepositories: kit.Wrap("ListRepositories", s.ListRepositories, mw...),
		search:           kit.Wrap("Search", s.Search, mw...),
		openBlob:         kit.Wrap("OpenBlob", s.OpenBlob, mw...),
		statBlob:         kit.Wrap("StatBlob", s.StatBlob, mw...),
		deleteBlob:       kit.Wrap("DeleteBlob", s.DeleteBlob, mw...),
	}
}
