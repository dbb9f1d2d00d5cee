package admin

import (
	"context"
	"strings"

	"google.golang.org/protobuf/types/known/emptypb"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/meta"
)

const sessionsCollection = "sessions"

// sessionOwner finds the account whose sessions a name is about.
func (s *Service) sessionOwner(ctx context.Context, field, name string) (meta.SessionOwner, error) {
	a, err := s.account(ctx, field, name)
	return meta.SessionOwner{Tenant: a.Tenant, Account: a.ID, Actor: a.Principal().Name}, err
}

// ListSessions pages by name.
func (s *Service) ListSessions(ctx context.Context, req *pb.ListSessionsRequest) (*pb.ListSessionsResponse, error) {
	o, err := s.sessionOwner(ctx, "parent", req.GetParent())
	if err != nil {
		return nil, err
	}
	all, err := s.store.ListSessions(ctx, o)
	if err != nil {
		return nil, err
	}
	rows, next, err := pageOfAll(s, sessionsCollection, req.GetParent(), req, all, func(m meta.Session) string { return m.Name })
	if err != nil {
		return nil, err
	}
	return &pb.ListSessionsResponse{
		Sessions:      mapped(rows, func(m meta.Session) *pb.Session { return sessionMessage(req.GetParent()+"/"+sessionsCollection+"/", m) }),
		NextPageToken: next,
	}, nil
}

// DeleteSession ends a session.
func (s *Service) DeleteSession(ctx context.Context, req *pb.DeleteSessionRequest) (*emptypb.Empty, error) {
	parent, name, found := strings.Cut(req.GetName(), "/"+sessionsCollection+"/")
	if !found || name == "" {
		return nil, badName("name", req.GetName(), []string{"tenants", "users", sessionsCollection})
	}
	o, err := s.sessionOwner(ctx, "name", parent)
	if err != nil {
		return deleted(err, req)
	}
	if req.GetValidateOnly() {
		_, err := s.sessionNamed(ctx, o, name)
		return deleted(err, req)
	}
	return deleted(s.store.DeleteSession(ctx, causedBy(ctx, "session", name, ""), o, name), req)
}
