package fetch

import (
	"context"
	"errors"
	"io"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// store stores the blob while it arrives. Readers have it from the stream, so
// that a store that is full or broken, or a quota, fails none of them; but when
// the last of them leaves then, the rest is not fetched.
func (fl *flight) store(ctx context.Context) {
	err := fl.ingest(ctx)
	fl.storing.Store(false)
	if err == nil || fl.stream.Err() != nil {
		return
	}
	log := fl.Log.With("repository", fl.target.Repo.Name, "digest", fl.target.Digest, "error", err)
	if fault.Is(err, fault.QuotaExceeded) {
		log.InfoContext(ctx, "a blob was passed through and not stored: the tenant's quota has no room for it")
		return
	}
	log.WarnContext(ctx, "a blob was passed through and could not be stored")
}

// ingest brings the stream into an upload session of its own (storage protocol,
// section 4), unless the tenant has the blob. Nothing is kept of one that is not
// the blob.
func (fl *flight) ingest(ctx context.Context) error {
	if linked, err := fl.link(ctx); linked || err != nil {
		return err
	}
	u, err := fl.Meta.CreateUpload(ctx, fl.target.Repo, fl.target.Digest.Algorithm())
	if err != nil {
		return err
	}
	if err := fl.fill(ctx, u); err != nil {
		return errors.Join(err, fl.sessions.Discard(ctx, u))
	}
	return nil
}

// link links a blob that the tenant has, from elsewhere, once all of it came from
// the upstream, which is the proof that the tenant may pull it there (contract row S70). It
// is not linked where it has to be stored.
func (fl *flight) link(ctx context.Context) (bool, error) {
	if !fl.has(ctx) {
		return false, nil
	}
	<-fl.stream.Done()
	if err := fl.stream.Err(); err != nil {
		return false, err
	}
	_, err := fl.Meta.LinkBlob(ctx, fl.target.Repo, fl.target.Digest)
	if fault.Is(err, fault.BlobUnknown) { // it went meanwhile, or turned out to be lost
		return false, nil
	}
	return err == nil, err
}

// has says whether the tenant has the blob, whole. Where that cannot be found out
// it is stored, which finds the blob that is there.
func (fl *flight) has(ctx context.Context) bool {
	b, err := fl.Meta.FindTenantBlob(ctx, meta.Upload{Repo: fl.target.Repo, Digest: fl.target.Digest})
	if err != nil {
		return false
	}
	size, err := fl.Blobs.Stat(ctx, b.Key)
	return err == nil && size == b.Size
}

func (fl *flight) fill(ctx context.Context, u meta.Upload) error {
	reading, stop := context.WithCancel(ctx)
	defer stop()
	h := oci.NewHasher(u.Algorithm)
	src := hashed{io.TeeReader(fl.stream.Source(reading), h), h, stop}
	u, err := fl.sessions.Append(ctx, u, src)
	if err != nil {
		return err
	}
	// It ends well only where the stream's bytes were found right. These were
	// read back from a disk: what is stored is proven by itself (invariant I12).
	if got := h.Digest(); got != fl.target.Digest {
		return fault.New(fault.Unavailable, fault.UnavailableReason,
			"what was read back of the blob in flight has the digest %s", got)
	}
	_, err = fl.sessions.Commit(ctx, meta.Cause{}, u, fl.target.Digest)
	return err
}

// hashed is the stream that goes into the blob store.
type hashed struct {
	io.Reader
	hash *oci.Hasher
	stop context.CancelFunc
}

// Mark is the hash state after the bytes read so far.
func (h hashed) Mark() ([]byte, error) { return h.hash.State(), nil }

// Interrupt ends a Read that waits for the upstream.
func (h hashed) Interrupt() { h.stop() }
