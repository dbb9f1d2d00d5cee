package s3blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/berth-registry/berth/pkg/blob"
)

// object is what the store says of one.
type object struct {
	size int64
	etag string // "" = not asked yet
	sum  string // "" = the store has none
}

// Stat returns the object's size in bytes (see blob.Opener).
func (s *Store) Stat(ctx context.Context, k blob.Key) (int64, error) {
	o, err := s.find(ctx, k, readLags)
	return o.size, err
}

// Open opens the object for reading (see blob.Opener). Nothing is fetched before
// the first Read.
func (s *Store) Open(ctx context.Context, k blob.Key) (blob.Content, error) {
	o, err := s.find(ctx, k, readLags)
	if err != nil {
		return nil, err
	}
	return s.newContent(ctx, k, o), nil
}

// find asks for an object, and again after each of lags while it is not there.
func (s *Store) find(ctx context.Context, k blob.Key, lags []time.Duration) (object, error) {
	for {
		o, err := s.head(ctx, k)
		switch {
		case err == nil:
			return o, nil
		case !isAbsent(err):
			return object{}, down(err, "examine an object")
		case len(lags) == 0:
			return object{}, s.absent(ctx, "examine an object")
		}
		if err := pause(ctx, lags[0]); err != nil {
			return object{}, down(err, "examine an object")
		}
		lags = lags[1:]
	}
}

func (s *Store) head(ctx context.Context, k blob.Key) (object, error) {
	h, err := s.client.HeadObject(ctx, &s3.HeadObjectInput{
		Bucket: &s.bucket, Key: aws.String(k.String()), ChecksumMode: types.ChecksumModeEnabled,
	})
	if err != nil {
		return object{}, err
	}
	return object{size: aws.ToInt64(h.ContentLength), etag: aws.ToString(h.ETag), sum: aws.ToString(h.ChecksumCRC32C)}, nil
}

// absent is the answer for an object that is not there. It is believed only of
// a bucket that is: ErrMissing is for ever.
func (s *Store) absent(ctx context.Context, doing string) error {
	if _, err := s.client.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &s.bucket}); err != nil {
		return down(err, "examine the bucket")
	}
	return missing(doing)
}

// pause waits unless ctx ends before.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// maxFailures is how often in a row a read may break off without a byte.
const maxFailures = 4

// content is an object that is read by ranged GETs. It never ends cleanly with
// other bytes than the object's (fault R31): what breaks off is fetched again
// from there, and what is read as a whole is compared with the checksum.
type content struct {
	ctx    context.Context // of Open: an io.Reader has none
	store  *Store
	key    blob.Key
	object object

	at     int64
	body   io.ReadCloser // from at on; nil before the first Read and after a Seek
	verify *verifier     // of the bytes before at; nil when they were not all read
}

func (s *Store) newContent(ctx context.Context, k blob.Key, o object) *content {
	return &content{ctx: ctx, store: s, key: k, object: o, verify: verifierOf(o.sum, o.size, s.partBytes)}
}

// Size is the object's length in bytes.
func (c *content) Size() int64 { return c.object.size }

// Seek only notes the offset.
func (c *content) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += c.at
	case io.SeekEnd:
		offset += c.object.size
	}
	if offset < 0 {
		return c.at, errors.New("s3blob: seek before the start")
	}
	if offset == c.at {
		return offset, nil
	}
	c.drop()
	c.at, c.verify = offset, nil
	if offset == 0 {
		c.verify = verifierOf(c.object.sum, c.object.size, c.store.partBytes)
	}
	return offset, nil
}

// Close gives the connection back.
func (c *content) Close() error {
	c.drop()
	return nil
}

func (c *content) drop() {
	if c.body != nil {
		_ = c.body.Close() // what it has to say concerns bytes that nobody wants
		c.body = nil
	}
}

// Read reads the next bytes. The last ones of an object that was read as a whole
// come only if all were right.
func (c *content) Read(p []byte) (int, error) {
	if c.at >= c.object.size {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	var last error
	for range maxFailures {
		if err := c.fetch(); err != nil {
			return 0, err // the request was tried often enough
		}
		n, err := c.body.Read(p)
		if err != nil {
			c.drop()
			last = err
		}
		if n > 0 {
			return c.took(p[:n])
		}
		if c.ctx.Err() != nil {
			return 0, context.Cause(c.ctx)
		}
	}
	return 0, down(last, "read an object")
}

// took accounts for bytes that were read.
func (c *content) took(p []byte) (int, error) {
	if int64(len(p)) > c.object.size-c.at {
		return 0, down(errChanged, "read an object")
	}
	if c.verify != nil {
		c.verify.write(p)
		if c.at+int64(len(p)) == c.object.size && !c.verify.ok() {
			return 0, down(errors.New("its bytes have not the checksum they were stored with"), "read an object")
		}
	}
	c.at += int64(len(p))
	return len(p), nil
}

// errChanged says that the store answers with something else than it has said
// to hold.
var errChanged = errors.New("the store answers with another object")

// fetch asks for the bytes from c.at on.
func (c *content) fetch() error {
	if c.body != nil {
		return nil
	}
	in := &s3.GetObjectInput{Bucket: &c.store.bucket, Key: aws.String(c.key.String())}
	if c.object.etag == "" {
		in.ChecksumMode = types.ChecksumModeEnabled
	}
	if c.at > 0 {
		in.Range = aws.String(fmt.Sprintf("bytes=%d-", c.at))
	}
	out, err := c.get(in)
	if err != nil {
		return err
	}
	if err := c.compare(out); err != nil {
		return errors.Join(down(err, "read an object"), out.Body.Close())
	}
	c.body = out.Body
	return nil
}

// get sends the request, again while the object cannot be seen yet.
func (c *content) get(in *s3.GetObjectInput) (*s3.GetObjectOutput, error) {
	for lags := readLags; ; lags = lags[1:] {
		out, err := c.store.client.GetObject(c.ctx, in)
		switch {
		case err == nil:
			return out, nil
		case !isAbsent(err):
			return nil, down(err, "open an object")
		case len(lags) == 0:
			return nil, c.store.absent(c.ctx, "open an object")
		}
		if err := pause(c.ctx, lags[0]); err != nil {
			return nil, down(err, "open an object")
		}
	}
}

// compare makes sure that the answer is about the object and the range asked
// for. The first answer says what those after it are held to.
func (c *content) compare(out *s3.GetObjectOutput) error {
	if c.object.etag == "" {
		c.object.etag, c.object.sum = aws.ToString(out.ETag), aws.ToString(out.ChecksumCRC32C)
		if c.at == 0 {
			c.verify = verifierOf(c.object.sum, c.object.size, c.store.partBytes)
		}
	}
	want := fmt.Sprintf("bytes %d-%d/%d", c.at, c.object.size-1, c.object.size)
	switch {
	case aws.ToString(out.ETag) != c.object.etag:
		return errChanged
	case out.ContentLength != nil && *out.ContentLength != c.object.size-c.at:
		return errChanged
	case c.at > 0 && aws.ToString(out.ContentRange) != want:
		return errChanged
	}
	return nil
}
