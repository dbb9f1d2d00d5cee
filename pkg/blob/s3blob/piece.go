package s3blob

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/berth-registry/berth/pkg/blob"
)

// piece is what is stored between two steps: a part, a tail, or nothing.
type piece struct {
	spool  *spool
	offset int64  // of its end
	state  []byte // of the source there
	number int    // of a part; 0 when it is none
	tail   blob.Tail
	staged bool // tail is this piece, not one that was there before

	sent chan struct{} // closed when it is stored, or cannot be
	part blob.Part
	err  error
}

// send stores a piece.
func (a *appending) send(p *piece) {
	defer close(p.sent)
	defer p.spool.free()
	// A free place goes to the tenant that has the fewest.
	if p.err = a.store.sends.Acquire(a.work, a.stage.Key.Tenant, 1); p.err != nil {
		return
	}
	defer a.store.sends.Release(a.stage.Key.Tenant, 1)
	switch {
	case p.number > 0:
		p.part, p.err = a.sendPart(a.work, p)
	case p.staged:
		p.err = a.sendTail(a.work, p)
	}
}

func (a *appending) sendPart(ctx context.Context, p *piece) (blob.Part, error) {
	upload, err := a.multipart(ctx)
	if err != nil {
		return blob.Part{}, err
	}
	return a.store.putPart(ctx, a.stage.Key, upload, p.number, p.spool)
}

func (a *appending) sendTail(ctx context.Context, p *piece) error {
	k := blob.Key{Tenant: a.stage.Key.Tenant, Incarnation: p.tail.Incarnation}
	err := a.ask(ctx, func(ctx context.Context) error { return a.keeper.Intend(ctx, k) })
	if err != nil {
		return err
	}
	return a.store.putObject(ctx, k, p.spool)
}

// multipart is the id of the object's multipart upload, which the first part
// makes. It is recorded before that part is sent.
func (a *appending) multipart(ctx context.Context) (string, error) {
	a.starting.Lock()
	defer a.starting.Unlock()
	if a.upload != "" {
		return a.upload, nil
	}
	id, err := a.store.createUpload(ctx, a.stage.Key)
	if err != nil {
		return "", err
	}
	return id, a.use(ctx, id)
}

// mediaType is the Content-Type of objects that clients fetch from the store.
const mediaType = "application/octet-stream"

// putPart stores a part; ErrMissing when its multipart upload is gone.
func (s *Store) putPart(ctx context.Context, k blob.Key, upload string, number int, sp *spool) (blob.Part, error) {
	sum := checksum(sp.crc)
	stored, err := s.client.UploadPart(ctx, &s3.UploadPartInput{
		Bucket: &s.bucket, Key: aws.String(k.String()), UploadId: &upload, PartNumber: aws.Int32(int32(number)),
		Body: sp.reader(), ContentLength: &sp.size, ChecksumCRC32C: &sum,
	})
	switch {
	case err != nil && s.uploadIsGone(ctx, k, upload, err):
		return blob.Part{}, s.absent(ctx, "store a part")
	case err != nil:
		return blob.Part{}, down(err, "store a part")
	}
	return blob.Part{Number: number, Size: sp.size, ETag: wordOf(aws.ToString(stored.ETag), sum)}, nil
}

// uploadIsGone says whether a part could not be stored because its multipart
// upload is no more. A store that says so before it has read the part may go
// unnoticed.
func (s *Store) uploadIsGone(ctx context.Context, k blob.Key, upload string, err error) bool {
	if statusOf(err) == 0 && ctx.Err() == nil {
		open, _ := s.isOpen(ctx, k, upload)
		return !open
	}
	return isNoUpload(err)
}

// putObject stores an object in one piece.
func (s *Store) putObject(ctx context.Context, k blob.Key, sp *spool) error {
	_, err := s.client.PutObject(ctx, &s3.PutObjectInput{
		Bucket: &s.bucket, Key: aws.String(k.String()), ContentType: aws.String(mediaType),
		Body: sp.reader(), ContentLength: &sp.size, ChecksumCRC32C: aws.String(checksum(sp.crc)),
	})
	if err != nil {
		return down(err, "store an object")
	}
	return nil
}
