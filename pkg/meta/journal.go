package meta

import (
	"context"

	"github.com/berth-registry/berth/pkg/blob"
)

// Journal records the progress of one Append of an upload's bytes: it is the
// blob.Journal over UploadProgress. It is not safe for concurrent use.
type Journal struct {
	progress UploadProgress
	upload   Upload
}

// NewJournal makes the journal of a session that the caller has taken.
func NewJournal(p UploadProgress, u Upload) *Journal { return &Journal{progress: p, upload: u} }

// Upload is the session as it was recorded last.
func (j *Journal) Upload() Upload { return j.upload }

// Intend implements blob.Journal.
func (j *Journal) Intend(ctx context.Context, k blob.Key) error {
	return j.progress.IntendTail(ctx, j.upload, k.Incarnation)
}

// Multipart implements blob.Journal.
func (j *Journal) Multipart(ctx context.Context, id string) error {
	if err := j.progress.RecordMultipart(ctx, j.upload, id); err != nil {
		return err
	}
	j.upload.Stage.Multipart = id
	return nil
}

// Step implements blob.Journal.
func (j *Journal) Step(ctx context.Context, p blob.Progress) error {
	u, err := j.progress.AdvanceUpload(ctx, j.upload, p)
	if err != nil {
		return err
	}
	j.upload = u
	return nil
}
