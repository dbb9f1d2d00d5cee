package upload

import (
	"context"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/meta"
)

// journal records the progress of one Append in package meta.
type journal struct {
	uploads meta.Uploads
	upload  meta.Upload // as it was recorded last
}

func (j *journal) Intend(ctx context.Context, k blob.Key) error {
	return j.uploads.IntendTail(ctx, j.upload, k.Incarnation)
}

func (j *journal) Multipart(ctx context.Context, id string) error {
	if err := j.uploads.RecordMultipart(ctx, j.upload, id); err != nil {
		return err
	}
	j.upload.Stage.Multipart = id
	return nil
}

func (j *journal) Step(ctx context.Context, p blob.Progress) error {
	u, err := j.uploads.AdvanceUpload(ctx, j.upload, p)
	if err != nil {
		return err
	}
	j.upload = u
	return nil
}
