package admin

import (
	"context"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
)

// upstreamFields are those of an upstream that its clients may set.
var upstreamFields = []string{
	"url", "username", "password", "host_aliases", "name_prefix", "tag_ttl", "negative_ttl", "stale_if_error", "keep", "max_bytes",
	"include", "exclude", "allow_claimed", "auth_hosts", "serve_anonymous",
}

// upstreamFieldsRead are those of them that are answered, too.
var upstreamFieldsRead = slices.DeleteFunc(slices.Clone(upstreamFields), func(f string) bool { return f == "password" })

// CreateUpstream makes an upstream. It is not asked for anything: how that goes
// shows at the first pull, in its status. But an address that will never be
// connected to is refused now.
func (s *Service) CreateUpstream(ctx context.Context, req *pb.CreateUpstreamRequest) (*pb.Upstream, error) {
	if err := checkSlug("upstream_id", req.GetUpstreamId()); err != nil {
		return nil, err
	}
	t, err := s.findTenant(ctx, "parent", req.GetParent())
	if err != nil {
		return nil, err
	}
	u := meta.Upstream{Tenant: t.ID, Slug: req.GetUpstreamId()}
	if err := s.configure(&u, req.GetUpstream()); err != nil {
		return nil, err
	}
	if err := s.checkAddress(ctx, t, u); err != nil {
		return nil, err
	}
	if err := s.admitUpstream(ctx, u, true); err != nil {
		return nil, err
	}
	if req.GetValidateOnly() {
		if err := absent(s.store.FindUpstream(ctx, t.ID, u.Slug)); err != nil {
			return nil, err
		}
		return upstreamMessage(t, u), nil
	}
	u, err = s.store.CreateUpstream(ctx, cause(ctx), u)
	if err != nil {
		return nil, err
	}
	return upstreamMessage(t, u), nil
}

// GetUpstream answers one upstream with its status.
func (s *Service) GetUpstream(ctx context.Context, req *pb.GetUpstreamRequest) (*pb.Upstream, error) {
	t, u, err := s.findUpstream(ctx, "name", req.GetName())
	if err != nil {
		return nil, err
	}
	return upstreamMessage(t, u), nil
}

// ListUpstreams pages by slug.
func (s *Service) ListUpstreams(ctx context.Context, req *pb.ListUpstreamsRequest) (*pb.ListUpstreamsResponse, error) {
	t, err := s.findTenant(ctx, "parent", req.GetParent())
	if err != nil {
		return nil, err
	}
	rows, next, err := listPage(s, "upstreams", req.GetParent(), req,
		func(p meta.Page) ([]meta.Upstream, error) { return s.store.ListUpstreams(ctx, t.ID, p) },
		func(u meta.Upstream) string { return u.Slug })
	if err != nil {
		return nil, err
	}
	return &pb.ListUpstreamsResponse{
		Upstreams:     mapped(rows, func(u meta.Upstream) *pb.Upstream { return upstreamMessage(t, u) }),
		NextPageToken: next,
	}, nil
}

// UpdateUpstream changes an upstream.
func (s *Service) UpdateUpstream(ctx context.Context, req *pb.UpdateUpstreamRequest) (*pb.Upstream, error) {
	t, u, err := s.findUpstream(ctx, "upstream.name", req.GetUpstream().GetName())
	if fault.Is(err, fault.ResourceUnknown) && req.GetAllowMissing() {
		ids, err := splitName("upstream.name", req.GetUpstream().GetName(), "tenants", "upstreams")
		if err != nil {
			return nil, err
		}
		return s.CreateUpstream(ctx, &pb.CreateUpstreamRequest{
			Parent: "tenants/" + ids[0], UpstreamId: ids[1], Upstream: req.GetUpstream(), ValidateOnly: req.GetValidateOnly(),
		})
	}
	if err != nil {
		return nil, err
	}
	if err := checkEtag(req.GetUpstream().GetEtag(), u.Version); err != nil {
		return nil, err
	}
	before := upstreamMessage(t, u)
	before.Password = unchangedPassword
	after := proto.CloneOf(before)
	mutable := upstreamFields
	if m := req.GetUpstream(); m.GetPasswordSet() && m.GetPassword() == "" { // as it was read
		mutable = upstreamFieldsRead
	}
	if err := merge(after, req.GetUpstream(), req.GetUpdateMask(), mutable); err != nil {
		return nil, err
	}
	was := u
	if err := s.configure(&u, after); err != nil {
		return nil, err
	}
	if err := checkPasswordNotRedirected(was, u); err != nil {
		return nil, err
	}
	if was.Settings.URL != u.Settings.URL { // what is there already may be mended in all else
		if err := s.checkAddress(ctx, t, u); err != nil {
			return nil, err
		}
	}
	if err := s.admitUpstream(ctx, u, false); err != nil {
		return nil, err
	}
	renew := s.invalidatesCache(was, u)
	if req.GetValidateOnly() || !renew && proto.Equal(upstreamMessage(t, was), upstreamMessage(t, u)) {
		return upstreamMessage(t, u), nil
	}
	u, err = s.store.UpdateUpstream(ctx, caused(ctx, before, after), u, renew)
	if err != nil {
		return nil, err
	}
	return upstreamMessage(t, u), nil
}

// checkPasswordNotRedirected refuses a new URL with the old password: who may set
// the URL could read a password there that the API does not show.
func checkPasswordNotRedirected(before, after meta.Upstream) error {
	a, b := before.Settings, after.Settings
	sameHost := strings.EqualFold(strings.TrimSuffix(a.URL, "/"), strings.TrimSuffix(b.URL, "/"))
	if len(b.Password) == 0 || sameHost || !slices.Equal(a.Password, b.Password) {
		return nil
	}
	return invalid(fieldUpstream+"password", "the password was given for %s: give the one for %s together with its url", a.URL, b.URL)
}

// invalidatesCache says whether what was fetched so far is given up: something changed by
// which it was decided who may have it (invariant I12).
func (s *Service) invalidatesCache(before, after meta.Upstream) bool {
	a, b := before.Settings, after.Settings
	return a.URL != b.URL || a.Username != b.Username || !s.samePassword(before, after) || !slices.Equal(a.AuthHosts, b.AuthHosts)
}

// samePassword takes one that cannot be opened for another.
func (s *Service) samePassword(before, after meta.Upstream) bool {
	a, b := before.Settings.Password, after.Settings.Password
	if slices.Equal(a, b) {
		return true
	}
	was, err := s.secrets.Open(a, meta.PasswordOf(before))
	if err != nil {
		return false
	}
	is, err := s.secrets.Open(b, meta.PasswordOf(after))
	return err == nil && was == is
}

// DeleteUpstream deletes an upstream with what is kept of it.
func (s *Service) DeleteUpstream(ctx context.Context, req *pb.DeleteUpstreamRequest) (*emptypb.Empty, error) {
	t, u, err := s.findUpstream(ctx, "name", req.GetName())
	if err != nil {
		return deleted(err, req)
	}
	if err := checkEtag(req.GetEtag(), u.Version); err != nil || req.GetValidateOnly() {
		return deleted(err, req)
	}
	return deleted(s.store.DeleteUpstream(ctx, cause(ctx), t.ID, u.Slug, u.Version), req)
}

// findUpstream finds by resource name; field is where the request carries it.
func (s *Service) findUpstream(ctx context.Context, field, name string) (meta.Tenant, meta.Upstream, error) {
	ids, err := splitName(field, name, "tenants", "upstreams")
	if err != nil {
		return meta.Tenant{}, meta.Upstream{}, err
	}
	t, err := s.tenantBySlug(ctx, ids[0])
	if err != nil {
		return meta.Tenant{}, meta.Upstream{}, err
	}
	u, err := s.store.FindUpstream(ctx, t.ID, ids[1])
	return t, u, err
}

// upstreamMessage shows an upstream, without its password.
func upstreamMessage(t meta.Tenant, u meta.Upstream) *pb.Upstream {
	set := u.Settings
	m := &pb.Upstream{
		Name:         "tenants/" + t.Slug + "/upstreams/" + u.Slug,
		Url:          set.URL,
		Username:     set.Username,
		PasswordSet:  len(set.Password) > 0,
		HostAliases:  set.HostAliases,
		NamePrefix:   set.NamePrefix,
		TagTtl:       durationpb.New(set.TagTTL),
		NegativeTtl:  durationpb.New(set.NegativeTTL),
		StaleIfError: durationpb.New(set.StaleIfError),
		Keep:         durationpb.New(set.Keep),
		MaxBytes:     set.MaxBytes,
		Include:      set.Include,
		Exclude:      set.Exclude,
		AllowClaimed: set.AllowClaimed,
		AuthHosts:    set.AuthHosts,
		Status:       statusMessage(u.Status),

		ServeAnonymous: set.ServeAnonymous,
	}
	if set.AnonymousByDefault() {
		m.Warning = servesAnonymous
	}
	if u.ID != 0 { // else it was only validated
		m.Etag = etag(u.Version)
		m.CreateTime, m.UpdateTime = timestamppb.New(u.CreatedAt), timestamppb.New(u.UpdatedAt)
	}
	return m
}

// servesAnonymous is the warning of an upstream of before there was a choice.
const servesAnonymous = "callers who are not logged in get what this upstream gives for its credential, as before there was a choice: " +
	"set serve_anonymous to true to keep that, or to false"

func statusMessage(s meta.UpstreamStatus) *pb.Upstream_Status {
	m := &pb.Upstream_Status{
		State: upstreamState(s), LastSuccessTime: moment(s.SucceededAt), LastFailureTime: moment(s.FailedAt), LastFailure: s.Failure,
		RateLimit: s.RateLimit, RateLimitRemaining: s.RateLimitRemaining,
	}
	if s.RateLimitWindow > 0 {
		m.RateLimitWindow = durationpb.New(time.Duration(s.RateLimitWindow) * time.Second)
	}
	return m
}

// upstreamState is the word for how an upstream does. What was kept before there
// were words was the state of its circuit breaker.
func upstreamState(s meta.UpstreamStatus) pb.Upstream_Status_State {
	known, ok := pb.Upstream_Status_State_value[s.State]
	switch {
	case ok:
		return pb.Upstream_Status_State(known)
	case s.SucceededAt.IsZero() && s.FailedAt.IsZero():
		return pb.Upstream_Status_NEVER_ASKED
	case s.FailedAt.After(s.SucceededAt):
		return pb.Upstream_Status_FAILING
	default:
		return pb.Upstream_Status_OK
	}
}

// moment is nil for a time that never was.
func moment(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}
