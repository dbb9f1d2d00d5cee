package admin

import (
	"context"
	"strings"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// UndeleteRepository undoes DeleteRepository.
func (s *Service) UndeleteRepository(ctx context.Context, req *pb.UndeleteRepositoryRequest) (*pb.Repository, error) {
	as, err := s.restoreAs(ctx, req)
	if err != nil {
		return nil, err
	}
	r, err := s.writableRepository(ctx, req.GetName())
	if err != nil {
		return nil, err
	}
	u := meta.RepositoryUndelete{Repo: r, As: as, By: causedBy(ctx, "state", stateDeleted, stateActive)}
	u.By.ValidateOnly = req.GetValidateOnly()
	if as != "" && as != r.Name {
		u.By.Changes = append(u.By.Changes, meta.Change{Field: "name", Old: r.Name, New: as})
	}
	if at := req.GetDeleteTime(); at != nil {
		if at.CheckValid() != nil {
			return nil, invalid("delete_time", "is not a valid time")
		}
		u.DeletedAt = at.AsTime()
	}
	if err := s.store.UndeleteRepository(ctx, u); err != nil {
		return nil, err
	}
	name := strings.TrimSuffix(req.GetName(), r.Name) + u.Restored().Name
	m, err := s.GetRepository(ctx, &pb.GetRepositoryRequest{Name: name})
	if fault.Is(err, fault.NameUnknown) { // it is only validated, or holds no manifest, or the caller may not see it
		m, err = &pb.Repository{Name: name, State: pb.Repository_ACTIVE}, nil
	}
	return m, err
}

// restoreAs is the other name that a repository gets, if any, which needs the same right.
func (s *Service) restoreAs(ctx context.Context, req *pb.UndeleteRepositoryRequest) (string, error) {
	as := req.GetRestoreAs()
	if as == "" {
		return "", nil
	}
	if err := oci.CheckName(as); err != nil {
		return "", fault.From(err).WithField("restore_as")
	}
	parent, _, _ := strings.Cut(req.GetName(), "/repositories/")
	return as, s.decide(ctx, pb.Access_REPOSITORY_UNDELETE, &pb.UndeleteRepositoryRequest{Name: parent + "/repositories/" + as})
}
