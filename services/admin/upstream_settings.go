package admin

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

// unchangedSecret stands for a password or key that an update does not name. It is
// longer than one may be.
var unchangedSecret = strings.Repeat("=", maxPEM+1)

// Limits of what an upstream is told.
const (
	maxPatterns   = 100
	maxHosts      = 20
	maxUsername   = 255       // bytes
	maxPassword   = 8 << 10   // bytes: some are whole JSON documents
	longestLife   = 10 * year // of anything
	year          = 365 * 24 * time.Hour
	shortestStay  = time.Minute // of content after its last pull
	fieldUpstream = "upstream."
)

// configure makes the settings of u what a client may set, checked. Its password
// is sealed for u.
func (s *Service) configure(u *meta.Upstream, m *pb.Upstream) error {
	is := meta.DefaultUpstreamSettings
	is.NamePrefix, is.MaxBytes = m.GetNamePrefix(), m.GetMaxBytes()
	is.Include, is.Exclude, is.AllowClaimed = m.GetInclude(), m.GetExclude(), m.GetAllowClaimed()
	var err error
	if is.UpstreamTarget, err = s.target(targetPlace{names: meta.SecretsOf(*u), was: u.Settings.UpstreamTarget}, m); err != nil {
		return err
	}
	if is.CredentialHelper = m.GetCredentialHelper(); is.CredentialHelper != "" && (is.Username != "" || len(is.Password) > 0) {
		return invalid(fieldUpstream+"credential_helper", "a credential helper takes the place of username and password: leave both empty")
	}
	if err := s.setEgress(u, &is, m); err != nil {
		return err
	}
	if p, ok := strings.CutSuffix(is.NamePrefix, "/"); is.NamePrefix != "" && (!ok || oci.CheckName(p) != nil) {
		return invalid(fieldUpstream+"name_prefix", "%q is not the beginning of a repository's name with a slash at its end, such as acme/", clipped(is.NamePrefix))
	}
	if is.MaxBytes < 0 {
		return invalid(fieldUpstream+"max_bytes", "%d is negative; 0 means no limit but the tenant's quota", is.MaxBytes)
	}
	for _, list := range []struct {
		field    string
		patterns []string
	}{{"include", is.Include}, {"exclude", is.Exclude}, {"allow_claimed", is.AllowClaimed}} {
		if err := checkPatterns(fieldUpstream+list.field, list.patterns); err != nil {
			return err
		}
	}
	for _, hosts := range []struct {
		field string
		from  []string
		to    *[]string
	}{{"host_aliases", m.GetHostAliases(), &is.HostAliases}, {"auth_hosts", m.GetAuthHosts(), &is.AuthHosts}} {
		if *hosts.to, err = checkHosts(fieldUpstream+hosts.field, hosts.from); err != nil {
			return err
		}
	}
	for _, d := range []struct {
		field string
		from  *durationpb.Duration
		to    *time.Duration
		min   time.Duration
	}{
		{"tag_ttl", m.GetTagTtl(), &is.TagTTL, 0},
		{"negative_ttl", m.GetNegativeTtl(), &is.NegativeTTL, 0},
		{"stale_if_error", m.GetStaleIfError(), &is.StaleIfError, 0},
		{"keep", m.GetKeep(), &is.Keep, shortestStay},
	} {
		if d.from == nil {
			continue // the default
		}
		if *d.to = d.from.AsDuration(); d.from.CheckValid() != nil || *d.to < d.min || *d.to > longestLife {
			return invalid(fieldUpstream+d.field, "%s is out of range: from %s to 87600h, such as \"300s\" or \"5m\"", d.from.AsDuration(), d.min)
		}
	}
	if _, known := pb.Upstream_NotFound_name[int32(m.GetNotFound())]; !known {
		return invalid(fieldUpstream+"not_found", "not_found is one of VERIFY, TRUST")
	}
	is.TrustNotFound = m.GetNotFound() == pb.Upstream_TRUST
	if err := setRules(&is, m); err != nil {
		return err
	}
	is.ServeAnonymous = anonymousChoice(u.Settings, is, m.ServeAnonymous)
	u.Settings = is
	return nil
}

// anonymousChoice is whether callers who are not logged in are served. Where there
// is no choice yet, one is due only as long as they are served with a credential
// that they were served with before.
func anonymousChoice(before, after meta.UpstreamSettings, given *bool) *bool {
	switch {
	case given != nil:
		return given
	case before.AnonymousByDefault() && after.HasCredential():
		return nil
	case before.URL != "" && before.ServeAnonymous == nil && !after.HasCredential():
		return nil
	default:
		return new(bool)
	}
}

func checkPatterns(field string, patterns []string) error {
	if len(patterns) > maxPatterns {
		return invalid(field, "%d patterns exceed the maximum of %d", len(patterns), maxPatterns)
	}
	for i, p := range patterns {
		if err := oci.CheckPattern(p); err != nil {
			return fault.From(err).WithField(fmt.Sprintf("%s[%d]", field, i))
		}
	}
	return nil
}

// checkHosts takes host names with or without a port, and returns them in the
// form that they are compared in.
func checkHosts(field string, names []string) ([]string, error) {
	if len(names) > maxHosts {
		return nil, invalid(field, "%d hosts exceed the maximum of %d", len(names), maxHosts)
	}
	var hosts []string
	for i, name := range names {
		field := fmt.Sprintf("%s[%d]", field, i)
		host, err := tenant.NormalizeHost(name)
		if err != nil {
			return nil, invalid(field, "%q is not the name of a host, such as docker.io or registry.example:5000", clipped(name))
		}
		if _, port, err := net.SplitHostPort(name); err == nil {
			host += ":" + port
		}
		if slices.Contains(hosts, host) {
			return nil, invalid(field, "%q is named twice", host)
		}
		hosts = append(hosts, host)
	}
	return hosts, nil
}

func clipped(s string) string {
	const longest = 80
	if len(s) > longest {
		return s[:longest] + "…"
	}
	return s
}

// checkHelper refuses a credential helper that this tenant may not use for the URL.
func (s *Service) checkHelper(t meta.Tenant, u meta.Upstream) error {
	if u.Settings.CredentialHelper == "" {
		return nil
	}
	err := s.chains.CheckHelper(u.Settings.CredentialHelper, t.Slug, u.Settings.URL)
	if f := fault.From(err); f != nil && f.Field != "" {
		return f.WithField(fieldUpstream + f.Field)
	}
	return err
}

// checkUpstreamNames compares the names of an upstream with those of the others
// of its tenant.
func (s *Service) checkUpstreamNames(ctx context.Context, u meta.Upstream) error {
	t, err := s.store.FindTopology(ctx, u.Tenant)
	if err != nil {
		return err
	}
	delete(t.Upstreams, u.Slug)
	for _, slug := range slices.Sorted(maps.Keys(t.Upstreams)) {
		taken := aliases(t.Upstreams[slug])
		if slices.Contains(taken, u.Slug) {
			return nameTaken(slug, u.Slug).WithField("upstream_id")
		}
		taken = append(taken, slug)
		for _, alias := range aliases(u) {
			if slices.Contains(taken, alias) {
				return nameTaken(slug, alias).WithField(fieldUpstream + "host_aliases")
			}
		}
	}
	return nil
}

// aliases are the host aliases in the form that chains compare them in.
func aliases(u meta.Upstream) []string {
	return mapped(u.Settings.HostAliases, chain.CanonicalHost)
}

func nameTaken(by, name string) *fault.Error {
	return fault.New(fault.Conflict, fault.AlreadyExists, "upstream %q has the name %q already", by, name)
}
