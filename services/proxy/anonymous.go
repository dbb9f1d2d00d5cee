package proxy

import (
	"context"
	"errors"
	"net/http"

	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/services/internal/front"
)

// errLogin is for callers who are not logged in, of what only others are answered
// from upstreams. It is the same whether that is there or not, whether there is
// such an upstream, and which one it is (contract row S74).
var errLogin = errors.New("proxy: it is answered to callers who are logged in")

// errWithheld is errLogin of one upstream, for the account of a resolution.
type errWithheld struct{ why string }

func (e errWithheld) Error() string        { return e.why }
func (e errWithheld) Is(target error) bool { return target == errLogin }

// withheld says that the credential of the upstream is for others.
var withheld = errWithheld{"callers who are not logged in get nothing by its credential: its serve_anonymous is not set"}

// writeError answers errLogin with a challenge, as a private repository.
func writeError(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(err, errLogin) {
		err = front.CallOf(r.Context()).LoginNeeded()
	}
	front.WriteError(w, r, err)
}

// reached is the upstream that the registry calls by the name in the request,
// among those that it names.
func (s *Service) reached(ctx context.Context, a Ask) (meta.Upstream, error) {
	all, err := s.topologies.Find(ctx, a.Tenant)
	if err != nil {
		return meta.Upstream{}, err
	}
	reach, err := s.topologies.Reach(ctx, a.Tenant, a.Registry)
	if err != nil {
		return meta.Upstream{}, err
	}
	u, ok := chain.ByHost(reach, a.Upstream)
	switch {
	case a.Anonymous && ok && !u.Settings.ServesAnonymous(), a.Anonymous && !ok && hides(all, reach):
		return u, errLogin
	case !ok:
		return u, fault.New(fault.NotFound, fault.NameUnknown, "this registry has no upstream that is called %q", a.Upstream)
	default:
		return u, nil
	}
}

// hides says whether the tenant has an upstream that callers who are not logged in
// do not reach: then they do not hear either that there is no other one.
func hides(all, reach meta.Topology) bool {
	for slug, u := range all.Upstreams {
		if _, ok := reach.Upstreams[slug]; !ok || !u.Settings.ServesAnonymous() {
			return true
		}
	}
	return false
}

// orLogin is notHere, unless the caller would have to be logged in to hear that of
// all members that are asked for the name.
func (a asked) orLogin(notHere error) error {
	if a.Anonymous && a.chain.Withholds(a.Name) {
		return errLogin
	}
	return notHere
}
