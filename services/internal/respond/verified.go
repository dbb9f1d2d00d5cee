package respond

import (
	"errors"
	"fmt"
	"io"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/oci"
)

// errNotWhole is a reading that does not begin at the first byte.
var errNotWhole = errors.New("respond: verified content is read as a whole")

// verified is content that is compared with its digest while it is read: a Read that would
// return the last bytes fails if any were wrong, so that no client takes them for the blob.
type verified struct {
	blob.Content
	want   oci.Digest
	hash   *oci.Hasher
	at     int64 // the next byte
	hashed int64 // bytes that were read
	failed error // of the last Read
}

func verify(c blob.Content, want oci.Digest) *verified {
	return &verified{Content: c, want: want, hash: oci.NewHasher(want.Algorithm())}
}

// WholeOnly says that ranges cannot be served: the digest is that of the whole.
func (v *verified) WholeOnly() bool { return true }

// ReadError is what the last Read failed with (see blob.ReadError).
func (v *verified) ReadError() error { return v.failed }

// Seek notes the offset: net/http seeks to the end for the size, and comes back.
func (v *verified) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += v.at
	case io.SeekEnd:
		offset += v.Size()
	}
	v.at = offset
	return offset, nil
}

// Read implements io.Reader.
func (v *verified) Read(p []byte) (int, error) {
	n, err := v.read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		v.failed = err
	}
	return n, err
}

func (v *verified) read(p []byte) (int, error) {
	switch {
	case v.failed != nil:
		return 0, v.failed
	case v.at == v.Size():
		return 0, io.EOF
	case v.at != v.hashed:
		return 0, errNotWhole
	}
	n, err := v.Content.Read(p)
	_, _ = v.hash.Write(p[:n]) // a hash does not fail
	v.hashed += int64(n)
	v.at = v.hashed
	if v.hashed == v.Size() {
		if got := v.hash.Digest(); got != v.want {
			return 0, fmt.Errorf("%w: the object holds %s, not %s", blob.ErrDamaged, got, v.want)
		}
	}
	return n, err
}
