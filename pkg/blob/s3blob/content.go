package s3blob

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/pause"
)

// maxFailures is how often in a row a read may break off without a byte.
const maxFailures = 4

// content is an object that is read by GETs. It never ends cleanly with other
// bytes than the object's (fault R31): what breaks off is fetched again from
// there, and what is read as a whole is compared with the checksum.
type content struct {
	ctx    context.Context // of Open: an io.Reader has none
	store  *Store
	key    blob.Key
	object object

	at     int64         // of the next Read
	from   int64         // of body's next byte
	body   io.ReadCloser // nil when nothing is being fetched
	verify *verifier     // of the bytes before from; nil when they were not all read
	failed error         // what the last Read failed with
}

// Open opens the object for reading (see blob.Opener). What it asks the store
// for is the content already.
func (s *Store) Open(ctx context.Context, k blob.Key) (blob.Content, error) {
	return s.OpenRange(ctx, k, blob.Range{})
}

// OpenRange opens the object by asking for r: reading that costs no other
// request (see blob.RangeOpener).
func (s *Store) OpenRange(ctx context.Context, k blob.Key, r blob.Range) (blob.Content, error) {
	c := &content{ctx: ctx, store: s, key: k, object: object{size: -1}}
	if err := c.fetch(r); err != nil {
		return nil, err
	}
	return c, nil
}

// openTail opens a session's tail.
func (s *Store) openTail(ctx context.Context, st blob.Stage) (*content, error) {
	k := blob.Key{Tenant: st.Key.Tenant, Incarnation: st.Tail.Incarnation}
	c := &content{ctx: ctx, store: s, key: k, object: object{size: st.Tail.Size}}
	return c, c.fetch(blob.Range{})
}

// Size is the object's length in bytes.
func (c *content) Size() int64 { return c.object.size }

// ReadError is what the last Read failed with (see blob.ReadError).
func (c *content) ReadError() error { return c.failed }

// Seek only notes the offset. What was fetched is dropped by a Read elsewhere:
// a caller that seeks to the end for the size, as net/http does, comes back.
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
	c.at = offset
	return offset, nil
}

// Close gives the connection back.
func (c *content) Close() error {
	c.drop()
	return nil
}

func (c *content) drop() {
	if c.body != nil {
		_ = c.body.Close() // what it has to say concerns bytes that are no longer needed
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
	if errors.Is(c.failed, blob.ErrDamaged) {
		return 0, c.failed // what is read again from here on could not be verified
	}
	if c.at != c.from {
		c.drop()
		c.from, c.verify = c.at, nil
	}
	n, err := c.read(p)
	c.failed = err
	return n, err
}

func (c *content) read(p []byte) (int, error) {
	var last error
	for range maxFailures {
		if c.body == nil {
			if err := c.fetch(blob.Range{From: c.at, To: c.object.size}); err != nil {
				return 0, err // the request was tried often enough
			}
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
	end := c.at + int64(len(p))
	if end > c.object.size {
		return 0, damaged("the store sends more than its declared size")
	}
	if c.verify != nil {
		c.verify.write(p)
		if end == c.object.size && !c.verify.ok() {
			return 0, damaged("its bytes do not match their stored checksum")
		}
	}
	c.at, c.from = end, end
	return len(p), nil
}

// damaged says that the store returned other bytes than were stored.
func damaged(how string) error {
	return down(fmt.Errorf("%w: %s", blob.ErrDamaged, how), "read an object")
}

// fetch requests r, which begins at c.from. Later responses must agree with
// the first.
func (c *content) fetch(r blob.Range) error {
	in := &s3.GetObjectInput{Bucket: &c.store.bucket, Key: aws.String(c.key.String())}
	whole := r == blob.Range{} || r.From == 0 && r.To == c.object.size
	switch {
	case !whole:
		in.Range = aws.String(fmt.Sprintf("bytes=%d-%d", r.From, r.To-1))
	case c.object.sum == "":
		in.ChecksumMode = types.ChecksumModeEnabled
	}
	out, err := c.get(in)
	switch {
	case isCode(err, "InvalidRange") && c.object.size < 0:
		// It is shorter than the caller knows: that is for the caller to see.
		c.object, err = c.store.find(c.ctx, c.key, nil)
		return err
	case err != nil:
		return err
	}
	got, err := answerOf(out, r, whole)
	if err == nil {
		err = c.compare(got)
	}
	if err != nil {
		return errors.Join(err, out.Body.Close())
	}
	if r.From == 0 {
		c.verify = verifierOf(c.object.sum, c.object.size, c.store.partBytes)
	}
	c.body, c.from = out.Body, r.From
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
		if err := pause.For(c.ctx, lags[0]); err != nil {
			return nil, down(err, "open an object")
		}
	}
}

// answerOf is what an answer says of the object, which must be one about r.
func answerOf(out *s3.GetObjectOutput, r blob.Range, whole bool) (object, error) {
	o := object{size: aws.ToInt64(out.ContentLength), etag: aws.ToString(out.ETag)}
	if out.ContentLength == nil {
		return o, damaged("the store does not state the object's size")
	}
	if whole {
		o.sum = aws.ToString(out.ChecksumCRC32C)
		return o, nil
	}
	length := o.size
	got, size, ok := parseContentRange(aws.ToString(out.ContentRange))
	if !ok || got.From != r.From || got.To != min(r.To, size) || length != got.To-got.From {
		return o, damaged("the store answers with another part of it")
	}
	o.size = size
	return o, nil
}

// compare holds an answer to what is known of the object.
func (c *content) compare(got object) error {
	switch {
	case c.object.size >= 0 && got.size != c.object.size:
		return damaged(fmt.Sprintf("it has %d bytes, not %d", got.size, c.object.size))
	case c.object.etag != "" && got.etag != c.object.etag:
		return damaged("the store answers with another object")
	}
	if got.sum == "" {
		got.sum = c.object.sum
	}
	c.object = got
	return nil
}
