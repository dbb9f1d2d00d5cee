package admin

import (
	"context"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
)

func (s *Service) upstreams() collection[meta.Upstream, *pb.Upstream] {
	return collection[meta.Upstream, *pb.Upstream]{
		service: s, name: "upstreams", noun: "upstream", // UpdateUpstream does without updateRow
		new: func(_ context.Context, t meta.Tenant, slug string) meta.Upstream {
			return meta.Upstream{Tenant: t.ID, Slug: slug}
		},
		key: func(u meta.Upstream) (string, int64) { return u.Slug, u.Version },
		set: s.setUpstream, show: shown(upstreamMessage),
		limit: s.limits.UpstreamLimit(), findRow: s.store.FindUpstream, listRows: s.store.ListUpstreams,
		createRow: s.store.CreateUpstream, deleteRow: s.store.DeleteUpstream,
	}
}

// CreateUpstream makes an upstream. It is not asked for anything: how that goes
// shows at the first pull, in its status. But an address that will never be
// connected to is refused now.
func (s *Service) CreateUpstream(ctx context.Context, req *pb.CreateUpstreamRequest) (*pb.Upstream, error) {
	return s.upstreams().create(ctx, req.GetParent(), req.GetUpstreamId(), req.GetUpstream(), req.GetValidateOnly())
}

// GetUpstream returns one upstream with its status.
func (s *Service) GetUpstream(ctx context.Context, req *pb.GetUpstreamRequest) (*pb.Upstream, error) {
	return s.upstreams().get(ctx, req.GetName())
}

// ListUpstreams pages by slug.
func (s *Service) ListUpstreams(ctx context.Context, req *pb.ListUpstreamsRequest) (*pb.ListUpstreamsResponse, error) {
	rows, next, err := s.upstreams().list(ctx, req)
	return &pb.ListUpstreamsResponse{Upstreams: rows, NextPageToken: next}, err
}

// UpdateUpstream changes an upstream.
func (s *Service) UpdateUpstream(ctx context.Context, req *pb.UpdateUpstreamRequest) (*pb.Upstream, error) {
	return s.updateUpstream(ctx, req, req.GetUpstream())
}

// updateUpstream is not collection.update, for a password is never shown: what an
// update does not name stays, and is compared sealed.
func (s *Service) updateUpstream(ctx context.Context, req updateRequest, m *pb.Upstream) (*pb.Upstream, error) {
	t, u, err := s.upstreams().find(ctx, "upstream.name", m.GetName())
	if fault.Is(err, fault.ResourceUnknown) && req.GetAllowMissing() {
		return s.upstreams().createNamed(ctx, m, req.GetValidateOnly())
	}
	if err != nil {
		return nil, err
	}
	if err := checkEtag(m.GetEtag(), u.Version); err != nil {
		return nil, err
	}
	before := upstreamMessage(t, u)
	before.Password, before.ClientKey = unchangedSecret, unchangedSecret
	after := proto.CloneOf(before)
	m = proto.CloneOf(m)
	if m.GetPasswordSet() && m.GetPassword() == "" { // as it was read
		m.Password = unchangedSecret
	}
	if m.GetClientKeySet() && m.GetClientKey() == "" {
		m.ClientKey = unchangedSecret
	}
	if err := merge("upstream", after, m, req.GetUpdateMask()); err != nil {
		return nil, err
	}
	was := u
	if err := s.setUpstream(ctx, t, &u, after); err != nil {
		return nil, err
	}
	kept := s.keepsCache(was, u)
	if req.GetValidateOnly() || kept == keptWhole && proto.Equal(upstreamMessage(t, was), upstreamMessage(t, u)) {
		return upstreamMessage(t, u), nil
	}
	if kept == keptUnproved {
		u, err = s.store.RotateUpstream(ctx, caused(ctx, before, after), u)
	} else {
		u, err = s.store.UpdateUpstream(ctx, caused(ctx, before, after), u, kept == keptNot)
	}
	if err != nil {
		return nil, err
	}
	return upstreamMessage(t, u), nil
}

// checkPasswordNotRedirected refuses a new URL with the old password: who may set
// the URL could read a password there that the API does not show.
func checkPasswordNotRedirected(before, after meta.Upstream) error {
	a, b := before.Settings, after.Settings
	if len(b.Password) == 0 || sameURL(a.URL, b.URL) || !slices.Equal(a.Password, b.Password) {
		return nil
	}
	return invalid(fieldUpstream+"password", "the password was given for %s: give the one for %s together with its url", a.URL, b.URL)
}

// DeleteUpstream deletes an upstream with what is kept of it.
func (s *Service) DeleteUpstream(ctx context.Context, req *pb.DeleteUpstreamRequest) (*emptypb.Empty, error) {
	return s.upstreams().delete(ctx, req, req.GetEtag())
}

// setUpstream takes over what a client may set.
func (s *Service) setUpstream(ctx context.Context, t meta.Tenant, u *meta.Upstream, m *pb.Upstream) error {
	was := *u
	if err := s.configure(u, m); err != nil {
		return err
	}
	if err := checkPasswordNotRedirected(was, *u); err != nil {
		return err
	}
	if err := s.checkAddresses(ctx, t, was.Settings, u.Settings); err != nil {
		return err
	}
	if was.Settings.URL != u.Settings.URL || was.Settings.CredentialHelper != u.Settings.CredentialHelper {
		if err := s.checkHelper(t, *u); err != nil {
			return err
		}
	}
	return s.checkUpstreamNames(ctx, *u)
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

		CredentialHelper: set.CredentialHelper,

		ServeAnonymous: set.ServeAnonymous,
		NotFound:       pb.Upstream_VERIFY,
	}
	showEgress(m, set)
	if set.TrustNotFound {
		m.NotFound = pb.Upstream_TRUST
	}
	showRules(m, set)
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
		RateLimit: s.RateLimit, RateLimitRemaining: s.RateLimitRemaining, RateLimitResetTime: moment(s.RateLimitReset), CredentialUnused: s.CredentialUnused,
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
