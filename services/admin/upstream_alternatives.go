package admin

import (
	"context"
	"fmt"
	"slices"
	"strings"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/upstream"
)

// setAlternatives seals the passwords of other URLs; those that are empty stay as they
// are.
func (s *Service) setAlternatives(u *meta.Upstream, is *meta.UpstreamSettings, alternatives []*pb.Upstream_Alternative) error {
	if len(alternatives) > maxAlternatives {
		return invalid(fieldUpstream+"alternatives", "%d alternatives exceed the maximum of %d", len(alternatives), maxAlternatives)
	}
	taken := []string{is.URL}
	for i, a := range alternatives {
		field := fmt.Sprintf("alternatives[%d].", i)
		next := meta.UpstreamEndpoint{URL: a.GetUrl(), Username: a.GetUsername()}
		if err := upstream.CheckURL(next.URL); err != nil {
			return fault.From(err).WithField(fieldUpstream + field + "url")
		}
		if slices.ContainsFunc(taken, func(t string) bool { return sameURL(t, next.URL) }) {
			return invalid(fieldUpstream+field+"url", "%q is named twice", clipped(next.URL))
		}
		taken = append(taken, next.URL)
		if err := checkCredential(field, next.Username, a.GetPassword()); err != nil {
			return err
		}
		if a.GetPassword() != "" {
			var err error
			if next.Password, err = s.sealed(field+"password", a.GetPassword(), meta.AlternativeOf(*u, next.URL)); err != nil {
				return err
			}
		}
		for _, was := range u.Settings.Alternatives {
			if a.GetPassword() == "" && was.URL == next.URL && was.Username == next.Username {
				next.Password = was.Password
			}
		}
		is.Alternatives = append(is.Alternatives, next)
	}
	return nil
}

// sameURL ignores case and a slash at the end.
func sameURL(a, b string) bool {
	return strings.EqualFold(strings.TrimSuffix(a, "/"), strings.TrimSuffix(b, "/"))
}

// checkAddresses refuses an upstream that this deployment never connects to. What is
// there already may be changed in all else.
func (s *Service) checkAddresses(ctx context.Context, t meta.Tenant, before, after meta.UpstreamSettings) error {
	check := func(field, url string) error {
		err := s.chains.CheckAddress(ctx, t.Slug, after.Proxy, url)
		switch f := fault.From(err); {
		case err == nil || f.Field == "":
			return err
		case f.Field == "url":
			return f.WithField(fieldUpstream + field)
		default:
			return f.WithField(fieldUpstream + f.Field)
		}
	}
	if before.URL != after.URL || before.Proxy != after.Proxy {
		if err := check("url", after.URL); err != nil {
			return err
		}
	}
	for i, a := range after.Alternatives {
		known := slices.ContainsFunc(before.Alternatives, func(b meta.UpstreamEndpoint) bool { return a.URL == b.URL })
		if known && before.Proxy == after.Proxy {
			continue
		}
		if err := check(fmt.Sprintf("alternatives[%d].url", i), a.URL); err != nil {
			return err
		}
	}
	return nil
}
