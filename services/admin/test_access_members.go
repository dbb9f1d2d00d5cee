package admin

import (
	"context"
	"errors"
	"slices"
	"strings"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/meta"
)

// testMembers foresees the walk of a pull through the chain of the registry.
func (s *Service) testMembers(ctx context.Context, q accessTest) ([]*pb.TestAccessResponse_Member, error) {
	topology, err := s.store.FindTopology(ctx, q.tenant.ID)
	if err != nil {
		return nil, err
	}
	c, err := chain.Of(topology, q.registry.Slug)
	if err != nil {
		return nil, err
	}
	caller := func(r chain.Registry) access.Actions {
		if ctx.Err() != nil {
			return 0 // the call ends below
		}
		return q.in(r).Allowed
	}
	w := chain.Walk{
		Chain: c, Name: q.name, Anonymous: q.who.Anonymous(), Caller: caller,
		Claimed: func() (bool, error) { return s.store.ClaimedBy(ctx, q.tenant.ID, c.Registries, q.name) },
	}
	fills := true
	if q.ofUpstream() {
		host, name := q.namedUpstream()
		reach, err := chain.Reach(topology, q.registry.Slug, caller)
		if err != nil {
			return nil, err
		}
		u, ok := chain.ByHost(reach, host)
		if !ok {
			return nil, ctx.Err()
		}
		fills = chain.Fills(topology, q.registry.Slug, u.Slug, caller)
		w.Name, w.Direct, w.Members = name, true, []chain.Member{chain.SingleUpstream(&u)}
	}
	var members []*pb.TestAccessResponse_Member
	for _, r := range w.Foresee() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if errors.Is(r.Err, chain.ErrInternal) {
			return nil, r.Err
		}
		if q.shows(topology, r.Member) {
			members = append(members, q.member(r, fills))
		}
	}
	return members, ctx.Err()
}

// in is the decision in another registry of the tenant.
func (q accessTest) in(r chain.Registry) access.Explanation {
	e, known := q.others[r.Slug]
	if !known {
		there := q.rights.At(r.Slug, r.Settings())
		e = there.Explain(q.name)
		q.others[r.Slug] = e
	}
	return e
}

// shows reports whether the caller sees the member.
func (q accessTest) shows(t meta.Topology, m *chain.Member) bool {
	if q.view.all {
		return true
	}
	slug, ok := strings.CutPrefix(m.Name, "registries/")
	r := chain.Registry{Slug: slug, TopologyRegistry: t.Registries[slug]}
	return ok && q.view.registry(meta.Registry{Slug: slug, Settings: r.Settings()})
}

// member is what a walk does with a member. fills says whether the caches of upstreams are
// filled for the principal, as far as members do not decide.
func (q accessTest) member(r chain.Result, fills bool) *pb.TestAccessResponse_Member {
	m := &pb.TestAccessResponse_Member{
		Member: r.Member.Name, Detail: chain.WhyNotAsked(r.Err), Delegate: r.Member.Upstream == nil && r.Member.Delegated(),
	}
	switch {
	case q.blocked != "":
		m.Detail = q.blocked
	case !q.own.Allowed.Has(access.Pull):
		m.Detail = "the principal may not pull this from registry " + q.registry.Slug
	default:
		m.Asked = r.Err == nil
	}
	for _, action := range []access.Actions{access.Pull, access.Fill} {
		v := q.memberVerdict(r.Member, action)
		v.Allowed = v.Allowed && (fills || action != access.Fill)
		m.Verdicts = append(m.Verdicts, v)
	}
	return m
}

// memberVerdict is by the rights in the tested registry, and in all others that decide about the
// member: the first that refuses, or else the last.
func (q accessTest) memberVerdict(m *chain.Member, action access.Actions) *pb.TestAccessResponse_Verdict {
	v := &pb.TestAccessResponse_Verdict{Action: actionMessages(action)[0]}
	if q.blocked != "" {
		return v
	}
	caller := func(r chain.Registry) access.Actions { return q.in(r).Allowed }
	decides := m.CheckedAt()
	v.Allowed = q.own.Allowed.Has(action) && m.Rights(caller).Has(action)
	switch {
	case !q.own.Allowed.Has(action), len(decides) == 0 && m.Upstream != nil:
		v.Reasons = q.reasons(q.registry.Slug, q.own.Because(action))
	case len(decides) == 0:
		v.Reasons = []*pb.TestAccessResponse_Reason{{Kind: pb.TestAccessResponse_Reason_DELEGATE}}
	default:
		at := decides[len(decides)-1]
		if i := slices.IndexFunc(decides, func(r chain.Registry) bool { return !caller(r).Has(action) }); i >= 0 {
			at = decides[i]
		}
		v.Reasons = q.reasons(at.Slug, q.in(at).Because(action))
	}
	return v
}
