package admin

import (
	"context"
	"strconv"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// ListTagHistory pages the changes of a tag, the newest first.
func (s *Service) ListTagHistory(ctx context.Context, req *pb.ListTagHistoryRequest) (*pb.ListTagHistoryResponse, error) {
	if err := oci.CheckTag(req.GetTag()); err != nil {
		return nil, fault.From(err).WithField("tag")
	}
	r, v, err := s.visibleRepository(ctx, req.GetName())
	if err != nil {
		return nil, err
	}
	rows, next, err := listPage(s, "tag history", req.GetName()+":"+req.GetTag(), req,
		func(p meta.Page) ([]meta.TagChange, error) { return s.store.ListTagHistory(ctx, r, req.GetTag(), p) },
		func(c meta.TagChange) string { return strconv.FormatInt(c.Version, 10) })
	if err != nil {
		return nil, v.hidden(err)
	}
	return &pb.ListTagHistoryResponse{Changes: mapped(rows, tagChangeMessage), NextPageToken: next}, nil
}

func tagChangeMessage(c meta.TagChange) *pb.TagChange {
	return &pb.TagChange{
		Version: c.Version, Digest: c.Digest.String(), PreviousDigest: c.Previous.String(), Actor: c.Actor, Time: timestamppb.New(c.At),
		Verb: pb.TagChange_Verb(pb.TagChange_Verb_value[strings.ToUpper(string(c.Verb))]),
	}
}

// UndeleteTag restores a tag by its history.
func (s *Service) UndeleteTag(ctx context.Context, req *pb.UndeleteTagRequest) (*pb.UndeleteTagResponse, error) {
	if err := oci.CheckTag(req.GetTag()); err != nil {
		return nil, fault.From(err).WithField("tag")
	}
	u := meta.TagUndelete{Tag: req.GetTag(), Version: req.GetVersion(), Digest: oci.Digest(req.GetDigest())}
	switch {
	case u.Version != 0 && u.Digest != "":
		return nil, invalid("digest", "name a version or a digest, not both")
	case u.Digest != "":
		if _, err := oci.ParseDigest(req.GetDigest()); err != nil {
			return nil, fault.From(err).WithField("digest")
		}
	}
	var err error
	if u.Repo, err = s.writableRepository(ctx, req.GetName()); err != nil {
		return nil, err
	}
	if u.By, err = overriding(ctx, cause(ctx), req.GetOverrideTagRules()); err != nil {
		return nil, err
	}
	u.By.ValidateOnly = req.GetValidateOnly()
	d, err := s.store.UndeleteTag(ctx, u)
	if err != nil {
		return nil, missingNamed(err)
	}
	return &pb.UndeleteTagResponse{Digest: d.String()}, nil
}
