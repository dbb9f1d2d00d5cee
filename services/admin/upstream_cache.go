package admin

import (
	"slices"

	"github.com/berth-registry/berth/pkg/meta"
)

// keeping is what a change of an upstream leaves of its cache.
type keeping int

const (
	keptWhole    keeping = iota
	keptUnproved         // until the upstream answers for each name under the new password
	keptNot
)

// keepsCache says what becomes of the content that was fetched so far. It is given up if
// something changed by which it was decided who may have it (invariant I12), other than the
// password of the same account.
func (s *Service) keepsCache(before, after meta.Upstream) keeping {
	a, b := before.Settings, after.Settings
	if !sameAccess(a.UpstreamTarget, b.UpstreamTarget) || a.CredentialHelper != b.CredentialHelper ||
		!slices.Equal(a.AuthHosts, b.AuthHosts) || !slices.EqualFunc(a.Alternatives, b.Alternatives, sameAccess) {
		return keptNot
	}
	was, is := before.Secrets(), after.Secrets()
	if !slices.EqualFunc(was, is, func(a, b meta.SealedValue) bool { return a.Bound == b.Bound }) {
		return keptNot
	}
	kept := keptWhole
	for i := range was {
		switch {
		case s.sameSecret(was[i], is[i]):
		case is[i].Password:
			kept = keptUnproved
		default:
			return keptNot
		}
	}
	return kept
}

// sameSecret reports whether two sealed secrets are the same; one that cannot be opened is
// not.
func (s *Service) sameSecret(a, b meta.SealedValue) bool {
	if slices.Equal(*a.Value, *b.Value) {
		return true
	}
	was, err := s.secrets.Open(*a.Value, a.Bound)
	if err != nil {
		return false
	}
	is, err := s.secrets.Open(*b.Value, b.Bound)
	return err == nil && was == is
}
