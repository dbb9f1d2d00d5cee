// Package ingest writes bytes into an upload session and makes them a blob, for
// uploads and fetches (storage protocol, section 4).
package ingest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// cleanupTimeout bounds work for a client that may have left.
const cleanupTimeout = 10 * time.Second

// Sessions are the upload sessions of a deployment.
type Sessions struct {
	Meta  meta.Uploads
	Blobs interface {
		blob.Appender
		blob.Opener
	}
	// Remove deletes an object at once; nil leaves that to the janitor.
	Remove func(ctx context.Context, k blob.Key) error
}

// RemoverFor is Sessions.Remove for a store that has an end; nil for one that has
// none, where removing is the janitor's.
func RemoverFor(store any) func(context.Context, blob.Key) error {
	d, deletes := store.(blob.Deleter)
	if _, ends := store.(blob.Measurer); !ends || !deletes {
		return nil
	}
	return func(ctx context.Context, k blob.Key) error { return d.Delete(ctx, k, "") }
}

// Append appends what src gives to a session that the caller owns, and returns
// the session as it is then, also with an error. An error of src is returned as
// it is.
func (s Sessions) Append(ctx context.Context, u meta.Upload, src blob.Source) (meta.Upload, error) {
	j := NewJournal(s.Meta, u)
	err := s.Blobs.Append(ctx, StageOf(u), src, j)
	if fault.KindOf(err) == fault.Full {
		return j.Upload(), errors.Join(err, s.Drop(ctx, u)) // the disk is full of them
	}
	return j.Upload(), s.Failure(ctx, u, err)
}

// Drop is Discard that deletes the bytes at once, where Remove is set. Once the session
// is over they cannot become a blob, and a key is never reused.
func (s Sessions) Drop(ctx context.Context, u meta.Upload) error {
	err := s.Discard(ctx, u)
	if err != nil || s.Remove == nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	err = s.Remove(ctx, u.Stage.Key)
	if errors.Is(err, blob.ErrInUse) {
		return nil // the janitor removes it
	}
	return err
}

// Commit makes a session, whose bytes were found to have the digest, a live
// blob: sealed, finished in the store, then one transaction. Every step may be
// repeated.
func (s Sessions) Commit(ctx context.Context, by meta.Cause, u meta.Upload, d oci.Digest) (meta.Blob, error) {
	sealed, err := s.Meta.SealUpload(ctx, u, d)
	if err != nil {
		return meta.Blob{}, err
	}
	heal := false
	if sealed.State != meta.UploadCommitted {
		if err := s.finish(ctx, sealed); err != nil {
			return meta.Blob{}, err
		}
		if heal, err = s.needsHeal(ctx, sealed); err != nil {
			return meta.Blob{}, err
		}
	}
	return s.Meta.CommitUpload(ctx, by, sealed, heal)
}

// finish makes the session's bytes one object and checks its size.
func (s Sessions) finish(ctx context.Context, u meta.Upload) error {
	size, err := s.Blobs.Seal(ctx, StageOf(u))
	switch {
	case err != nil:
		return s.Failure(ctx, u, err)
	case size != u.Stage.Offset:
		return fault.Down(fmt.Errorf("%s has %d bytes, not %d", u.Stage.Key, size, u.Stage.Offset), "blob storage")
	}
	return nil
}

// needsHeal says whether the tenant has this blob with a missing or wrong
// object, which the new one then replaces.
func (s Sessions) needsHeal(ctx context.Context, u meta.Upload) (bool, error) {
	winner, err := s.Meta.FindTenantBlob(ctx, u)
	switch {
	case fault.Is(err, fault.BlobUnknown):
		return false, nil
	case err != nil:
		return false, err
	case winner.Key == u.Stage.Key:
		return false, nil
	}
	size, err := s.Blobs.Stat(ctx, winner.Key)
	if errors.Is(err, blob.ErrMissing) {
		return true, nil
	}
	return size != winner.Size, err
}

// Discard ends a session and drops its bytes, also if ctx has
// ended.
func (s Sessions) Discard(ctx context.Context, u meta.Upload) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	return s.Meta.CancelUpload(ctx, u.Repo, u.ID)
}

// StageOf is the session for the blob store.
func StageOf(u meta.Upload) blob.Stage {
	st := u.Stage
	st.Epoch = u.Epoch
	return st
}

// Failure maps an error of the blob store at the session to a response; other
// errors and nil are returned unchanged.
func (s Sessions) Failure(ctx context.Context, u meta.Upload, err error) error {
	switch {
	case errors.Is(err, blob.ErrFenced):
		return s.fenced(ctx, u, err)
	case errors.Is(err, blob.ErrMissing):
		return Unknown(err)
	}
	return err
}

// fenced is the answer for a writer that lost its session to another: 416
// with the offset that holds now, or 404 if the session ended. Package meta
// has said so already where it was the one to notice.
func (s Sessions) fenced(ctx context.Context, u meta.Upload, cause error) error {
	var known *fault.Error
	if errors.As(cause, &known) {
		return cause
	}
	// Ending the read that waited for the client ended the request's context.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	now, err := s.Meta.FindUpload(ctx, u.Repo, u.ID)
	if err != nil {
		return err
	}
	return fault.Wrap(cause, fault.OutOfRange, fault.BlobUploadInvalid, "another request has taken over this upload").
		WithOffset(now.Stage.Offset)
}

// Unknown is the answer for a session that cannot continue.
func Unknown(cause error) error {
	return fault.Wrap(cause, fault.NotFound, fault.BlobUploadUnknown, "upload not found; start a new one")
}

// Journal records the progress of one Append of an upload's bytes: it is the
// blob.Journal over meta.UploadProgress. It is not safe for concurrent use.
type Journal struct {
	progress meta.UploadProgress
	upload   meta.Upload
}

// NewJournal makes the journal of a session that the caller has taken.
func NewJournal(p meta.UploadProgress, u meta.Upload) *Journal {
	return &Journal{progress: p, upload: u}
}

// Upload is the session as it was recorded last.
func (j *Journal) Upload() meta.Upload { return j.upload }

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
