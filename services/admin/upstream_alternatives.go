package admin

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
)

// setAlternatives sets the other URLs. Secrets of theirs that are empty stay as they are.
func (s *Service) setAlternatives(u *meta.Upstream, is *meta.UpstreamSettings, alternatives []*pb.Upstream_Alternative) error {
	if len(alternatives) > maxAlternatives {
		return invalid(fieldUpstream+"alternatives", "%d alternatives exceed the maximum of %d", len(alternatives), maxAlternatives)
	}
	taken := []string{is.URL}
	for i, a := range alternatives {
		at := targetPlace{field: fmt.Sprintf("alternatives[%d].", i), names: meta.SecretsOfAlternative(*u, a.GetUrl())}
		if known := slices.IndexFunc(u.Settings.Alternatives, func(t meta.UpstreamTarget) bool { return t.URL == a.GetUrl() }); known >= 0 {
			at.was = u.Settings.Alternatives[known]
			a = keepingSecrets(a, at.was)
		}
		next, err := s.target(at, a)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(taken, func(t string) bool { return sameURL(t, next.URL) }) {
			return at.invalid("url", "%q is named twice", clipped(next.URL))
		}
		taken = append(taken, next.URL)
		is.Alternatives = append(is.Alternatives, next)
	}
	return nil
}

// keepingSecrets is the alternative with unchangedSecret for what it leaves out.
func keepingSecrets(a *pb.Upstream_Alternative, was meta.UpstreamTarget) *pb.Upstream_Alternative {
	a = proto.CloneOf(a)
	if a.GetPassword() == "" && a.GetUsername() == was.Username {
		a.Password = unchangedSecret
	}
	if a.GetClientKey() == "" {
		a.ClientKey = unchangedSecret
	}
	return a
}

func alternativeMessage(t meta.UpstreamTarget) *pb.Upstream_Alternative {
	return &pb.Upstream_Alternative{
		Url: t.URL, Username: t.Username, PasswordSet: len(t.Password) > 0, CaCertificates: t.CA,
		ClientCertificate: t.Certificate, ClientKeySet: len(t.Key) > 0, Headers: headersMessage(t.Headers),
	}
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
		known := slices.ContainsFunc(before.Alternatives, func(b meta.UpstreamTarget) bool { return a.URL == b.URL })
		if known && before.Proxy == after.Proxy {
			continue
		}
		if err := check(fmt.Sprintf("alternatives[%d].url", i), a.URL); err != nil {
			return err
		}
	}
	return nil
}
