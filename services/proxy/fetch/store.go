package fetch

import (
	"context"
	"errors"
	"io"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/services/internal/cacheroom"
)

// store stores the blob while it arrives. Readers use the stream, so a store error
// or a quota does not fail them; but then the rest is not fetched after the last
// reader leaves.
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
	if errors.Is(err, cacheroom.ErrNoRoom) {
		log.DebugContext(ctx, "a blob was passed through and not stored: the cache has no room") // the room tells of it
		return
	}
	log.WarnContext(ctx, "a blob was passed through and could not be stored")
}

// ingest writes the stream into a new upload session (storage protocol, section 4),
// unless the tenant has the blob. Wrong bytes are not kept.
func (fl *flight) ingest(ctx context.Context) error {
	if linked, err := fl.link(ctx); linked || err != nil {
		return err
	}
	room, err := fl.reserve(ctx)
	if err != nil {
		return err
	}
	defer room.End()
	u, err := fl.Meta.CreateUpload(ctx, fl.target.Repo, fl.target.Digest.Algorithm())
	if err != nil {
		return err
	}
	if err := fl.fill(ctx, u, room); err != nil {
		return errors.Join(err, fl.sessions.Drop(ctx, u))
	}
	return nil
}

// reserve reserves room for the blob. If its size is not known it waits for the end of
// the stream.
func (fl *flight) reserve(ctx context.Context) (*cacheroom.Reservation, error) {
	if fl.Room == nil {
		return nil, nil
	}
	size := fl.stream.Size()
	if size < 0 {
		<-fl.stream.Done()
		if err := fl.stream.Err(); err != nil {
			return nil, err
		}
		size = fl.stream.Written()
	}
	return fl.Room.Reserve(ctx, size)
}

// link links a blob that the tenant has, once all bytes came from the upstream, which
// proves that the tenant may pull it there (contract row S70). It returns false if the blob
// must be stored.
func (fl *flight) link(ctx context.Context) (bool, error) {
	if !fl.has(ctx) {
		return false, nil
	}
	<-fl.stream.Done()
	if err := fl.stream.Err(); err != nil {
		return false, err
	}
	_, err := fl.Meta.LinkBlob(ctx, fl.target.Repo, fl.target.Digest)
	if fault.Is(err, fault.BlobUnknown) { // it was removed, or found to be lost
		return false, nil
	}
	return err == nil, err
}

// has reports whether the tenant has the whole blob. On an error it returns false,
// and storing finds an existing blob.
func (fl *flight) has(ctx context.Context) bool {
	b, err := fl.Meta.FindTenantBlob(ctx, meta.Upload{Repo: fl.target.Repo, Digest: fl.target.Digest})
	if err != nil {
		return false
	}
	size, err := fl.Blobs.Stat(ctx, b.Key)
	return err == nil && size == b.Size
}

func (fl *flight) fill(ctx context.Context, u meta.Upload, room *cacheroom.Reservation) error {
	reading, stop := context.WithCancel(ctx)
	defer stop()
	h := oci.NewHasher(u.Algorithm)
	src := hashed{io.TeeReader(fl.stream.Source(reading), io.MultiWriter(h, room)), h, stop}
	u, err := fl.sessions.Append(ctx, u, src)
	if err != nil {
		return err
	}
	// The stream's bytes were verified, but these were read back from a disk, so their
	// digest is checked again (invariant I12).
	if got := h.Digest(); got != fl.target.Digest {
		return fault.New(fault.Unavailable, fault.UnavailableReason,
			"what was read back of the blob in flight has the digest %s", got)
	}
	_, err = fl.sessions.Commit(ctx, meta.Cause{}, u, fl.target.Digest)
	return err
}

// hashed is the stream for the blob store.
type hashed struct {
	io.Reader
	hash *oci.Hasher
	stop context.CancelFunc
}

// Mark is the hash state after the bytes read so far.
func (h hashed) Mark() ([]byte, error) { return h.hash.State(), nil }

// Interrupt ends a Read that waits for the upstream.
func (h hashed) Interrupt() { h.stop() }
