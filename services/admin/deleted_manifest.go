package admin

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// maxUndeletedTags is how many tags an undelete may name.
const maxUndeletedTags = 500

// ListDeletedManifests pages what can be restored in a repository, by digest.
func (s *Service) ListDeletedManifests(ctx context.Context, req *pb.ListDeletedManifestsRequest) (*pb.ListDeletedManifestsResponse, error) {
	r, v, err := s.visibleRepository(ctx, req.GetName())
	if err != nil {
		return nil, err
	}
	rows, next, err := listPage(s, "deleted manifests", req.GetName(), req,
		func(p meta.Page) ([]meta.Trashed, error) { return s.store.ListTrash(ctx, r, p) },
		func(m meta.Trashed) string { return m.Digest.String() })
	if err != nil {
		return nil, v.hidden(err)
	}
	return &pb.ListDeletedManifestsResponse{DeletedManifests: mapped(rows, deletedManifestMessage), NextPageToken: next}, nil
}

func deletedManifestMessage(m meta.Trashed) *pb.DeletedManifest {
	return &pb.DeletedManifest{
		Digest: m.Digest.String(), MediaType: m.MediaType, SizeBytes: m.Size, Subject: m.Subject.String(), Tags: m.Tags, Actor: m.Actor,
		DeleteTime: timestamppb.New(m.DeletedAt), ExpireTime: timestamppb.New(m.RestoreUntil),
	}
}

// UndeleteManifest restores a deleted manifest.
func (s *Service) UndeleteManifest(ctx context.Context, req *pb.UndeleteManifestRequest) (*emptypb.Empty, error) {
	digest, err := oci.ParseDigest(req.GetDigest())
	if err != nil {
		return nil, fault.From(err).WithField("digest")
	}
	if n := len(req.GetTags()); n > maxUndeletedTags {
		return nil, invalid("tags", "%d tags exceed the maximum of %d", n, maxUndeletedTags)
	}
	if req.GetUntagged() && len(req.GetTags()) > 0 {
		return nil, invalid("untagged", "set untagged or tags, not both")
	}
	for i, tag := range req.GetTags() {
		if err := oci.CheckTag(tag); err != nil {
			return nil, fault.From(err).WithField(fmt.Sprintf("tags[%d]", i))
		}
	}
	r, err := s.writableRepository(ctx, req.GetName())
	if err != nil {
		return nil, err
	}
	u := meta.ManifestUndelete{Repo: r, Digest: digest, Tags: req.GetTags(), By: causedBy(ctx, "state", stateDeleted, stateActive)}
	if req.GetUntagged() {
		u.Tags = []string{} // not those that it had
	}
	u.By.ValidateOnly = req.GetValidateOnly()
	return &emptypb.Empty{}, missingNamed(s.store.UndeleteManifest(ctx, u))
}

// maxNamed is how many digests the message of missingNamed has.
const maxNamed = 10

// missingNamed is err, with the digests of what cannot be restored, as it is gone.
func missingNamed(err error) error {
	var m *meta.Missing
	if !errors.As(err, &m) {
		return err
	}
	var all []string
	for _, d := range m.All() {
		all = append(all, d.String())
	}
	named, more := strings.Join(all[:min(len(all), maxNamed)], ", "), ""
	if n := len(all) - maxNamed; n > 0 {
		more = fmt.Sprintf(" and %d more", n)
	}
	f := fault.Wrap(m, fault.NotFound, fault.ManifestBlobUnknown, "it held %s%s, which this repository no longer has; push it", named, more)
	f.Detail = map[string]string{"digests": strings.Join(all, ",")}
	return f
}

// writableRepository is findRepository for what puts content there.
func (s *Service) writableRepository(ctx context.Context, name string) (meta.Repo, error) {
	r, repo, err := s.registryAndRepository(ctx, name)
	if err == nil && r.Settings.ReadOnly {
		err = fault.New(fault.Denied, fault.DeniedReason, "registry %q is read-only; set its read_only to false to restore content in it", r.Slug)
	}
	return repo, err
}
