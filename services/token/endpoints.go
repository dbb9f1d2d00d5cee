package token

import (
	"slices"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/services/internal/front"
	"github.com/berth-registry/berth/services/internal/kit"
)

// rules are the required rights. Anyone may request a token; IssueToken itself
// decides what it grants.
var rules = map[string]front.Rule{
	"IssueToken": anyCaller,
	"ListKeys":   anyCaller,
}

func anyCaller(*front.Call) error { return nil }

// endpoints are the operations with their middlewares around them.
type endpoints struct {
	issueToken kit.Op[IssueTokenRequest, IssueTokenResponse]
	listKeys   kit.Op[ListKeysRequest, access.JWKS]
}

// newEndpoints puts mw around each operation, the first outermost, and the rules
// inside of them.
func newEndpoints(s *Service, mw []kit.Middleware) endpoints {
	mw = append(slices.Clip(mw), front.Access(rules))
	return endpoints{
		issueToken: kit.Wrap("IssueToken", s.IssueToken, mw...),
		listKeys:   kit.Wrap("ListKeys", s.ListKeys, mw...),
	}
}
