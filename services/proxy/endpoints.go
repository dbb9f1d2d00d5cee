package proxy

import (
	"slices"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/services/internal/front"
	"github.com/berth-registry/berth/services/internal/kit"
	"github.com/berth-registry/berth/services/internal/respond"
	"github.com/berth-registry/berth/services/proxy/cache"
)

// rules are the required rights. An operation without a rule does not start.
var rules = map[string]front.Rule{
	"ProxyManifest":  front.Needs(access.Pull),
	"ProxyBlob":      front.Needs(access.Pull),
	"ProxyStatBlob":  front.Needs(access.Pull),
	"ProxyTags":      front.Needs(access.Pull),
	"ProxyReferrers": front.Needs(access.Pull),
}

// endpoints are the operations with their middlewares around them.
type endpoints struct {
	manifest  kit.Op[GetManifestRequest, cache.Manifest]
	blob      kit.Op[OpenBlobRequest, respond.OpenBlobResponse]
	statBlob  kit.Op[StatBlobRequest, meta.Blob]
	tags      kit.Op[ListTagsRequest, ListTagsResponse]
	referrers kit.Op[ListReferrersRequest, ListReferrersResponse]
}

// newEndpoints puts mw around each operation, the first outermost; the rules are
// decided inside.
func newEndpoints(s *Service, mw []kit.Middleware) endpoints {
	mw = append(slices.Clip(mw), front.Access(rules))
	return endpoints{
		manifest:  kit.Wrap("ProxyManifest", s.GetManifest, mw...),
		blob:      kit.Wrap("ProxyBlob", s.OpenBlob, mw...),
		statBlob:  kit.Wrap("ProxyStatBlob", s.StatBlob, mw...),
		tags:      kit.Wrap("ProxyTags", s.ListTags, mw...),
		referrers: kit.Wrap("ProxyReferrers", s.ListReferrers, mw...),
	}
}
