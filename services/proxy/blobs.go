package proxy

import (
	"context"
	"errors"
	"io"
	"regexp"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/services/internal/respond"
	"github.com/berth-registry/berth/services/proxy/cache"
)

// StatBlobRequest asks the chain for a blob.
type StatBlobRequest struct {
	PullRequest
	Digest oci.Digest
}

// OpenBlobRequest asks for the bytes of a blob.
type OpenBlobRequest struct {
	StatBlobRequest
	Redirect bool   // prefer a redirect, if the store lets clients fetch blobs
	Range    string // the Range header, as a hint for the store
}

// OpenBlob opens the blob at the first member that has it. Its bytes may still be
// in flight.
func (s *Service) OpenBlob(ctx context.Context, req OpenBlobRequest) (respond.OpenBlobResponse, error) {
	ctx, p, err := s.resolveChain(ctx, req.PullRequest)
	if err != nil {
		return respond.OpenBlobResponse{}, err
	}
	var opened respond.OpenBlobResponse
	open := func(r meta.Repo) error {
		b, err := s.meta.FindBlob(ctx, r, req.Digest)
		if err == nil {
			opened, err = s.blobs.Open(ctx, b, req.Redirect, req.Range)
		}
		return err
	}
	err = p.findByDigest(ctx, unknownBlob(req.Digest), byDigest{
		digest: req.Digest,
		hosted: open,
		stored: func(r *cache.Repository) error {
			b, err := s.meta.FindBlob(ctx, r.Repo, req.Digest)
			if err == nil && b.Suspect {
				err = respond.ErrContentLost
			}
			if err == nil {
				opened, err = s.blobs.Open(ctx, b, req.Redirect, req.Range)
				opened.Cached = true
			}
			if errors.Is(err, respond.ErrContentLost) {
				err = chain.ErrNotHere // the upstream has it again
			}
			return r.CountAnswer("blob", cache.Hit, err)
		},
		fetch: func(r *cache.Repository, size int64) error {
			err := setter(&opened)(r.Blob(ctx, req.Digest, size))
			if err == nil && req.Range != "" && !toTheEnd.MatchString(req.Range) && !blob.WholeOnly(opened.Content) {
				err = waitForAll(opened.Content)
			}
			return r.CountAnswer("blob", cache.Miss, err)
		},
	})
	return opened, err
}

// toTheEnd is the range of a client that resumes a blob. Like the whole blob it
// includes the last bytes, which are held back.
var toTheEnd = regexp.MustCompile(`^bytes=[0-9]+-$`)

// waitForAll waits for the whole blob: a range sent before the digest is verified
// could be wrong without an error. It reads the last byte, which comes only after
// that.
func waitForAll(c blob.Content) error {
	if c.Size() == 0 {
		return nil
	}
	_, err := c.Seek(-1, io.SeekEnd)
	if err == nil {
		_, err = io.ReadFull(c, make([]byte, 1))
	}
	if err == nil {
		_, err = c.Seek(0, io.SeekStart)
	}
	if err != nil {
		return errors.Join(err, c.Close())
	}
	return nil
}

func unknownBlob(d oci.Digest) error {
	return fault.New(fault.NotFound, fault.BlobUnknown, "blob %s not found in this registry or its upstreams", d).
		WithDetail(map[string]string{"digest": d.String()})
}

// StatBlob finds a blob without fetching it: for an uncached blob the manifest that
// names it is enough.
func (s *Service) StatBlob(ctx context.Context, req StatBlobRequest) (meta.Blob, error) {
	ctx, p, err := s.resolveChain(ctx, req.PullRequest)
	if err != nil {
		return meta.Blob{}, err
	}
	var found meta.Blob
	set := setter(&found)
	find := func(r meta.Repo) error { return set(s.meta.FindBlob(ctx, r, req.Digest)) }
	err = p.findByDigest(ctx, unknownBlob(req.Digest), byDigest{
		digest: req.Digest,
		hosted: find,
		stored: func(r *cache.Repository) error { return find(r.Repo) },
		fetch: func(r *cache.Repository, size int64) error {
			if size >= 0 {
				return set(meta.Blob{Digest: req.Digest, Size: size}, nil)
			}
			return set(r.StatBlob(ctx, req.Digest))
		},
	})
	return found, err
}
