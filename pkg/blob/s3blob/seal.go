package s3blob

import (
	"context"
	"errors"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/berth-registry/berth/pkg/blob"
)

// Seal makes the staged bytes one object (see blob.Appender).
func (s *Store) Seal(ctx context.Context, st blob.Stage) (int64, error) {
	if !isWhole(st) {
		return 0, missing("seal")
	}
	turn, err := s.takeOver(ctx, st)
	if err != nil {
		return 0, err
	}
	defer turn.End()
	var done sealing
	if len(st.Parts) == 0 {
		done, err = s.sealTail(ctx, st)
	} else {
		done, err = s.sealParts(ctx, st)
	}
	if err != nil {
		return 0, err
	}
	same, err := s.holds(ctx, st.Key, object{size: st.Offset, sum: done.sum}, commitLags)
	switch {
	case same:
		return st.Offset, nil
	case done.taken && (err == nil || errors.Is(err, blob.ErrMissing)):
		return 0, down(errors.New("the store does not show what it has taken"), "seal an object")
	case err == nil:
		return 0, missing("seal what became another object")
	}
	return 0, err
}

// sealing is the result of sealing the staged bytes.
type sealing struct {
	sum   string // what the object's checksum has to be; "" when it is not known
	taken bool   // the store says that it has the object now
}

// sealTail writes the object from the tail. A tail that is gone was sealed
// before.
func (s *Store) sealTail(ctx context.Context, st blob.Stage) (sealing, error) {
	sp, err := s.tail(ctx, st)
	switch {
	case errors.Is(err, blob.ErrMissing):
		return sealing{}, nil
	case err != nil:
		return sealing{}, err
	}
	defer sp.free()
	return sealing{checksum(sp.crc), true}, s.putObject(ctx, st.Key, sp)
}

// sealParts ends the multipart upload, with the tail as its last part. An upload
// that is gone became the object before; an answer that is lost or says
// something else decides nothing either (fault R29). What the store
// holds does.
func (s *Store) sealParts(ctx context.Context, st blob.Stage) (sealing, error) {
	parts := st.Parts[:len(st.Parts):len(st.Parts)]
	gone := false
	if st.Tail.Size > 0 {
		last, err := s.lastPart(ctx, st)
		gone = errors.Is(err, blob.ErrMissing)
		switch {
		case gone && last.Number == 0:
			return sealing{}, nil // not even the tail is there
		case err != nil && !gone:
			return sealing{}, err
		}
		parts = append(parts, last)
	}
	sums := make([]string, len(parts))
	ended := make([]types.CompletedPart, len(parts))
	for i, p := range parts {
		etag, sum := ofWord(p)
		sums[i] = sum
		ended[i] = types.CompletedPart{PartNumber: aws.Int32(int32(p.Number)), ETag: &etag, ChecksumCRC32C: &sums[i]}
	}
	sum := composite(sums)
	if gone {
		return sealing{sum: sum}, nil
	}
	err := s.complete(ctx, st, ended)
	if err == nil || isNoUpload(err) {
		return sealing{sum, err == nil}, nil
	}
	same, _ := s.holds(ctx, st.Key, object{size: st.Offset, sum: sum}, nil)
	switch {
	case same:
		return sealing{sum, true}, nil
	case isCode(err, "InvalidPart", "InvalidPartOrder"):
		return sealing{}, s.absent(ctx, "put parts together that are not those that were stored")
	}
	return sealing{}, down(err, "end a multipart upload")
}

func (s *Store) complete(ctx context.Context, st blob.Stage, parts []types.CompletedPart) error {
	_, err := s.client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: &s.bucket, Key: aws.String(st.Key.String()), UploadId: &st.Multipart,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
	})
	return err
}

// lastPart makes the tail the last part. When the multipart upload is gone it
// returns ErrMissing, with the part if the tail at least is there.
func (s *Store) lastPart(ctx context.Context, st blob.Stage) (blob.Part, error) {
	sp, err := s.tail(ctx, st)
	if err != nil {
		return blob.Part{}, err
	}
	defer sp.free()
	number := len(st.Parts) + 1
	p, err := s.putPart(ctx, st.Key, st.Multipart, number, sp)
	if errors.Is(err, blob.ErrMissing) {
		p = blob.Part{Number: number, Size: sp.size, ETag: wordOf("", checksum(sp.crc))}
	}
	return p, err
}

// What a store may need until everyone sees what was stored (fault R33): what a
// reader bears, and what a commit does.
var (
	readLags   = []time.Duration{50 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond, 400 * time.Millisecond}
	commitLags = append(readLags[:len(readLags):len(readLags)], 800*time.Millisecond, 1600*time.Millisecond)
)

// holds says whether the object is there with the size and, where it is known on
// both sides, the checksum.
func (s *Store) holds(ctx context.Context, k blob.Key, want object, lags []time.Duration) (bool, error) {
	got, err := s.find(ctx, k, lags)
	if err != nil {
		return false, err
	}
	return got.size == want.size && (got.sum == want.sum || got.sum == "" || want.sum == ""), nil
}
