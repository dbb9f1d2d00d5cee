package admin

import (
	"context"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
)

// GetSearchIndex says whether the index of the search is complete.
func (s *Service) GetSearchIndex(ctx context.Context, _ *pb.GetSearchIndexRequest) (*pb.SearchIndex, error) {
	complete, err := s.store.SearchComplete(ctx)
	if err != nil {
		return nil, err
	}
	m := &pb.SearchIndex{Name: "searchIndex", State: pb.SearchIndex_BUILDING}
	if complete {
		m.State = pb.SearchIndex_COMPLETE
	}
	return m, nil
}

// RebuildSearchIndex lets the janitor compare the index with all content.
func (s *Service) RebuildSearchIndex(ctx context.Context, _ *pb.RebuildSearchIndexRequest) (*pb.SearchIndex, error) {
	if err := s.store.RebuildSearch(ctx, causedBy(ctx, "state", "", "building")); err != nil {
		return nil, err
	}
	return s.GetSearchIndex(ctx, nil)
}
