package admin

import (
	"cmp"
	"slices"
	"strings"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/meta"
)

// What a verdict shows at most.
const (
	maxReasons    = 8
	maxNearMisses = 8
	maxWhy        = 2 // a rule that does not count for more reasons did not come near
)

// verdict says whether an action is allowed in the tested registry.
func (q accessTest) verdict(action access.Actions) *pb.TestAccessResponse_Verdict {
	v := &pb.TestAccessResponse_Verdict{Action: actionMessages(action)[0]}
	switch {
	case q.blocked != "":
	case q.ofUpstream() && action&(access.Pull|access.Fill) == 0:
		v.Reasons = []*pb.TestAccessResponse_Reason{{Kind: pb.TestAccessResponse_Reason_OTHER_REGISTRY}}
	case action == access.Manage && slices.Contains(needs[pb.Access_REGISTRY_ADMIN].roles, q.who.Role):
		v.Allowed = true
		v.Reasons = []*pb.TestAccessResponse_Reason{{Kind: pb.TestAccessResponse_Reason_ROLE}}
	default:
		v.Allowed = q.own.Allowed.Has(action)
		v.Reasons = q.reasons(q.registry.Slug, q.own.Because(action))
		v.NearMisses = q.nearMisses(action)
	}
	return v
}

var reasonKinds = map[access.ReasonKind]pb.TestAccessResponse_Reason_Kind{
	access.ByRule: pb.TestAccessResponse_Reason_ACCESS_RULE, access.ByRole: pb.TestAccessResponse_Reason_ROLE,
	access.ByAnonymousPull: pb.TestAccessResponse_Reason_ANONYMOUS_PULL, access.ByAnonymousPush: pb.TestAccessResponse_Reason_ANONYMOUS_PUSH,
	access.ByReadOnly: pb.TestAccessResponse_Reason_READ_ONLY, access.WithoutPull: pb.TestAccessResponse_Reason_WITHOUT_PULL,
}

func (q accessTest) reasons(registry string, all []access.Reason) []*pb.TestAccessResponse_Reason {
	return mapped(all[:min(len(all), maxReasons)], func(r access.Reason) *pb.TestAccessResponse_Reason {
		m := &pb.TestAccessResponse_Reason{Kind: reasonKinds[r.Kind], Principal: r.Principal, Pattern: r.Pattern, Registry: "registries/" + registry}
		if r.Rule != nil {
			m.AccessRule = q.ruleName(r.Rule.Slug)
		}
		return m
	})
}

func (q accessTest) ruleName(slug string) string {
	return "tenants/" + q.tenant.Slug + "/accessRules/" + slug
}

// whyOfMiss are the reasons why a rule does not count.
var whyOfMiss = []struct {
	miss access.Miss
	why  pb.TestAccessResponse_NearMiss_Why
}{
	{access.MissPrincipal, pb.TestAccessResponse_NearMiss_PRINCIPAL},
	{access.MissRegistry, pb.TestAccessResponse_NearMiss_REGISTRY},
	{access.MissRepository, pb.TestAccessResponse_NearMiss_REPOSITORY},
	{access.MissNetwork, pb.TestAccessResponse_NearMiss_NETWORK},
	{access.MissEnded, pb.TestAccessResponse_NearMiss_ENDED},
}

// nearMisses are the rules that would make the decision another one. Those who do not read
// all rules see those that name them.
func (q accessTest) nearMisses(action access.Actions) []*pb.TestAccessResponse_NearMiss {
	allowed := q.own.Allowed.Has(action)
	effect := pb.AccessRule_ALLOW
	if allowed {
		effect = pb.AccessRule_DENY
	}
	overruled := map[string]bool{}
	for _, r := range q.own.Overruled(action) {
		overruled[r.Rule.Slug] = true
	}
	var near []*pb.TestAccessResponse_NearMiss
	for i := range q.rules {
		rule := &q.rules[i]
		if rule.Deny != allowed {
			continue
		}
		why := whyNot(rule, q.misses[i], action)
		if len(why) == 0 && overruled[rule.Slug] {
			why = []pb.TestAccessResponse_NearMiss_Why{pb.TestAccessResponse_NearMiss_OVERRULED}
		}
		if len(why) == 0 || len(why) > maxWhy || !q.view.all && slices.Contains(why, pb.TestAccessResponse_NearMiss_PRINCIPAL) {
			continue
		}
		near = append(near, &pb.TestAccessResponse_NearMiss{AccessRule: q.ruleName(rule.Slug), Effect: effect, Why: why})
	}
	slices.SortFunc(near, func(a, b *pb.TestAccessResponse_NearMiss) int {
		return cmp.Or(len(a.GetWhy())-len(b.GetWhy()), strings.Compare(a.GetAccessRule(), b.GetAccessRule()))
	})
	return near[:min(len(near), maxNearMisses)]
}

// whyNot is empty for a rule that counts.
func whyNot(rule *meta.AccessRule, misses access.Miss, action access.Actions) []pb.TestAccessResponse_NearMiss_Why {
	var why []pb.TestAccessResponse_NearMiss_Why
	for _, one := range whyOfMiss {
		if misses&one.miss != 0 {
			why = append(why, one.why)
		}
	}
	if !rule.Actions.Has(action) {
		why = append(why, pb.TestAccessResponse_NearMiss_ACTION)
	}
	if rule.Disabled {
		why = append(why, pb.TestAccessResponse_NearMiss_DISABLED)
	}
	return why
}
