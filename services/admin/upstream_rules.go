package admin

import (
	"fmt"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/services/internal/policy"
)

// Limits of an upstream's rules.
const (
	maxTagRules = 50
	maxRuleText = 255 // bytes of a pattern, range or identifier
	maxApproved = 100
)

// setRules takes over the rules about tags and content, checked.
func setRules(is *meta.UpstreamSettings, m *pb.Upstream) error {
	if len(m.GetTagRules()) > maxTagRules {
		return invalid(fieldUpstream+"tag_rules", "%d rules exceed the maximum of %d", len(m.GetTagRules()), maxTagRules)
	}
	for i, one := range m.GetTagRules() {
		rule, err := tagRule(fmt.Sprintf("%stag_rules[%d]", fieldUpstream, i), one)
		if err != nil {
			return err
		}
		is.TagRules = append(is.TagRules, rule)
	}
	is.KeepGone = m.GetKeepGone()
	if d := m.GetMinAge(); d != nil {
		if is.MinAge = d.AsDuration(); d.CheckValid() != nil || is.MinAge < 0 || is.MinAge > is.Keep {
			return invalid(fieldUpstream+"min_age", "%s is out of range: from 0s to keep, which is %s", d.AsDuration(), is.Keep)
		}
	}
	if len(m.GetApprovedDigests()) > maxApproved {
		return invalid(fieldUpstream+"approved_digests", "%d digests exceed the maximum of %d", len(m.GetApprovedDigests()), maxApproved)
	}
	for i, text := range m.GetApprovedDigests() {
		d, err := oci.ParseDigest(text)
		if err != nil {
			return invalid(fmt.Sprintf("%sapproved_digests[%d]", fieldUpstream, i), "%q is not a digest, such as sha256 and 64 hexadecimal digits after a colon", clipped(text))
		}
		is.ApprovedDigests = append(is.ApprovedDigests, d)
	}
	is.Platforms, is.DeniedPlatforms, is.Licenses = m.GetPlatforms(), m.GetDeniedPlatforms(), m.GetLicenses()
	if err := checkTexts("platforms", is.Platforms, isPlatform, "a pattern of platforms, such as linux/amd64 or linux/*"); err != nil {
		return err
	}
	if err := checkTexts("denied_platforms", is.DeniedPlatforms, isPlatform, "a pattern of platforms, such as linux/amd64 or windows/*"); err != nil {
		return err
	}
	if err := checkTexts("licenses", is.Licenses, policy.CheckLicense, "the SPDX identifier of a license, such as Apache-2.0"); err != nil {
		return err
	}
	return setSignatures(is, m)
}

func tagRule(field string, m *pb.Upstream_TagRule) (meta.UpstreamTagRule, error) {
	rule := meta.UpstreamTagRule{Tags: m.GetTags(), Versions: m.GetVersions(), TTL: m.GetTtl().AsDuration(), Immutable: m.GetImmutable()}
	switch d := m.GetTtl(); {
	case len(rule.Tags) == 0 && rule.Versions == "":
		return rule, invalid(field, "a rule needs tags or versions")
	case rule.Versions != "" && (len(rule.Versions) > maxRuleText || !policy.CheckVersions(rule.Versions)):
		return rule, invalid(field+".versions", "%q is not a range of Semantic Versions, such as >=1.0.0", clipped(rule.Versions))
	case (d != nil) == rule.Immutable:
		return rule, invalid(field+".ttl", "a rule has either a ttl or immutable")
	case d != nil && (d.CheckValid() != nil || rule.TTL < 0 || rule.TTL > longestLife):
		return rule, invalid(field+".ttl", "%s is out of range: from 0s to 87600h, such as \"60s\"", d.AsDuration())
	}
	if len(rule.Tags) > maxPatterns {
		return rule, invalid(field+".tags", "%d patterns exceed the maximum of %d", len(rule.Tags), maxPatterns)
	}
	for i, p := range rule.Tags {
		if p == "" || strings.Contains(p, "/") || !isPattern(p) {
			return rule, invalid(fmt.Sprintf("%s.tags[%d]", field, i), "%q is not a pattern of tags, such as latest or nightly-*", clipped(p))
		}
	}
	return rule, nil
}

func isPlatform(p string) bool {
	n := strings.Count(p, "/")
	return (n == 1 || n == 2) && isPattern(p)
}

func isPattern(p string) bool {
	return len(p) <= maxRuleText && !strings.ContainsAny(p, `{}\`) && doublestar.ValidatePattern(p)
}

func checkTexts(field string, texts []string, ok func(string) bool, what string) error {
	if len(texts) > maxPatterns {
		return invalid(fieldUpstream+field, "%d entries exceed the maximum of %d", len(texts), maxPatterns)
	}
	for i, text := range texts {
		if !ok(text) {
			return invalid(fmt.Sprintf("%s%s[%d]", fieldUpstream, field, i), "%q is not %s", clipped(text), what)
		}
	}
	return nil
}

// showRules shows what setRules took.
func showRules(m *pb.Upstream, set meta.UpstreamSettings) {
	for _, rule := range set.TagRules {
		one := &pb.Upstream_TagRule{Tags: rule.Tags, Versions: rule.Versions, Immutable: rule.Immutable}
		if !rule.Immutable {
			one.Ttl = durationpb.New(rule.TTL)
		}
		m.TagRules = append(m.TagRules, one)
	}
	m.KeepGone, m.Platforms, m.DeniedPlatforms, m.Licenses = set.KeepGone, set.Platforms, set.DeniedPlatforms, set.Licenses
	m.MinAge = durationpb.New(set.MinAge)
	m.Signatures = mapped(set.Signatures, func(rule meta.SignatureRule) *pb.Upstream_SignatureRule {
		return &pb.Upstream_SignatureRule{Repositories: rule.Repositories, PublicKeys: rule.Keys}
	})
	m.ApprovedDigests = mapped(set.ApprovedDigests, func(d oci.Digest) string { return d.String() })
}
