package admin

import (
	"context"
	"slices"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/meta"
)

// repositoryList reads a list of the repositories of a registry by keys: the names of
// those that are there, and meta.DeletedRepository.Key of the others.
type repositoryList struct {
	service  *Service
	ctx      context.Context //nolint:containedctx // of the one request
	registry meta.Registry
	parent   string
	deleted  map[string]meta.DeletedRepository // that were read
}

func (l *repositoryList) active(b meta.Between[string]) ([]string, error) {
	return l.service.store.RepositoriesBetween(l.ctx, l.registry.Tenant, l.registry.ID, b)
}

// all has those that can be restored, too.
func (l *repositoryList) all(b meta.Between[string]) ([]string, error) {
	keys, err := l.active(b)
	if err != nil {
		return nil, err
	}
	gone, err := l.service.store.DeletedBetween(l.ctx, l.registry.Tenant, l.registry.ID, b)
	if err != nil {
		return nil, err
	}
	if l.deleted == nil {
		l.deleted = map[string]meta.DeletedRepository{}
	}
	for _, d := range gone {
		l.deleted[d.Key()] = d
		keys = append(keys, d.Key())
	}
	slices.SortFunc(keys, func(x, y string) int {
		if b.Descending {
			x, y = y, x
		}
		return strings.Compare(x, y)
	})
	return keys[:min(len(keys), b.Size)], nil
}

func (l *repositoryList) message(key string) *pb.Repository {
	d, gone := l.deleted[key]
	if !gone {
		return &pb.Repository{Name: l.parent + "/repositories/" + key, State: pb.Repository_ACTIVE}
	}
	return &pb.Repository{
		Name: l.parent + "/repositories/" + d.Name, State: pb.Repository_DELETED,
		DeleteTime: timestamppb.New(d.DeletedAt), ExpireTime: timestamppb.New(d.ExpireAt),
	}
}
