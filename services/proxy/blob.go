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
	"github.com/berth-registry/berth/pkg/upstream"
	"github.com/berth-registry/berth/services/internal/respond"
	"github.com/berth-registry/berth/services/proxy/fetch"
)

// NameBlob asks the chain for a blob.
type NameBlob struct {
	Ask
	Digest oci.Digest
}

// OpenBlob asks for the bytes of a blob.
type OpenBlob struct {
	NameBlob
	Redirect bool   // rather say where they are, where the store lets clients fetch them
	Range    string // the Range header, as a hint for the store what will be read
}

// OpenBlob opens the blob at the first member that has it. Its bytes may still be
// on their way.
func (s *Service) OpenBlob(ctx context.Context, req OpenBlob) (respond.OpenBlobResponse, error) {
	ctx, asked, err := s.follow(ctx, req.Ask)
	if err != nil {
		return respond.OpenBlobResponse{}, err
	}
	return byDigest[respond.OpenBlobResponse]{
		walk: &walk[respond.OpenBlobResponse]{
			Service: s, asked: asked,
			hosted: func(ctx context.Context, r meta.Repo) (respond.OpenBlobResponse, error) { return s.open(ctx, r, req) },
		},
		digest:  req.Digest,
		content: "blob",
		local: func(ctx context.Context, r meta.Repo, u *meta.Upstream) (respond.OpenBlobResponse, error) {
			opened, err := s.open(ctx, r, req)
			if u != nil && errors.Is(err, respond.ErrContentLost) {
				err = errNotHere // the upstream has it again
			}
			return opened, err
		},
		fetch: func(ctx context.Context, r remote, by named) (respond.OpenBlobResponse, error) {
			opened, err := r.fetchBlob(ctx, req.Digest, by)
			if err == nil && req.Range != "" && !toTheEnd.MatchString(req.Range) {
				err = arrived(opened.Content)
			}
			return opened, err
		},
	}.find(ctx, unknownBlob(req.Digest))
}

// toTheEnd is the range of who goes on with a blob that broke off. Like the whole
// it has the last bytes, which are held back.
var toTheEnd = regexp.MustCompile(`^bytes=[0-9]+-$`)

// arrived waits until all of the blob is there: a part of it that is sent before
// its digest is known would end well, whatever it holds. The last byte is not
// read before.
func arrived(c blob.Content) error {
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
	return fault.New(fault.NotFound, fault.BlobUnknown, "blob %s is not known to this registry, nor to those that it asks", d).
		WithDetail(map[string]string{"digest": d.String()})
}

func (s *Service) open(ctx context.Context, r meta.Repo, req OpenBlob) (respond.OpenBlobResponse, error) {
	b, err := s.meta.FindBlob(ctx, r, req.Digest)
	if err != nil {
		return respond.OpenBlobResponse{}, err
	}
	return s.blobs.Open(ctx, b, req.Redirect, req.Range)
}

// fetchBlob joins, or begins, the one fetch of the blob.
func (r remote) fetchBlob(ctx context.Context, d oci.Digest, by named) (respond.OpenBlobResponse, error) {
	what := "blob " + d.String()
	if r.absent.knows(r.key(what), r.now()) {
		return respond.OpenBlobResponse{}, errNotHere
	}
	linked, err := r.link(ctx, d)
	if err == nil {
		var opened respond.OpenBlobResponse
		if opened, err = r.blobs.Open(ctx, linked, false, ""); err == nil || !errors.Is(err, respond.ErrContentLost) {
			return opened, ours(err)
		}
	} else if !errors.Is(err, errUnknown) {
		return respond.OpenBlobResponse{}, err
	}
	content, err := r.fetches.Open(ctx, fetch.Target{Repo: r.repo, Digest: d, Size: by.size, Hops: r.hops}, func(ctx context.Context) (io.ReadCloser, int64, error) {
		body, err := r.client.Blob(ctx, r.repo.Name, d, by.size)
		r.statuses.add(r.upstream, r.client)
		if err != nil {
			return nil, 0, err
		}
		return body, body.Size, nil
	})
	if upstream.OutcomeOf(err) == upstream.NotHere {
		r.absent.add(r.key(what), r.now(), r.upstream.Settings.NegativeTTL)
	}
	if err != nil {
		return respond.OpenBlobResponse{}, fetchFailure(err)
	}
	return respond.OpenBlobResponse{Blob: meta.Blob{Digest: d, Size: content.Size()}, Content: content}, nil
}

// fetchFailure tells what failed here from what the upstream did.
func fetchFailure(err error) error {
	var remote *upstream.Error
	if errors.As(err, &remote) || fault.KindOf(err) == fault.BadUpstream {
		return err
	}
	return ours(err)
}

// link takes a blob that this upstream has sent before, under another name, once
// it has said that it has it under this one, too: most images share their lowest
// layers. That it says so of what it never sent is no proof (contract row S70). It
// is errUnknown where the blob must be fetched.
func (r remote) link(ctx context.Context, d oci.Digest) (meta.Blob, error) {
	sent, err := r.meta.WasSent(ctx, r.repo, d)
	switch {
	case err != nil:
		return meta.Blob{}, ours(err)
	case !sent:
		return meta.Blob{}, errUnknown
	}
	return once(ctx, r, "link "+d.String(), func(ctx context.Context) (meta.Blob, error) {
		if b, err := r.meta.FindBlob(ctx, r.repo, d); err == nil {
			return b, nil
		}
		if _, err := r.client.HasBlob(ctx, r.repo.Name, d); err != nil {
			return meta.Blob{}, errUnknown // a GET says why
		}
		b, err := r.meta.LinkSent(ctx, r.repo, d)
		if err != nil && fault.KindOf(err) == fault.NotFound {
			err = errUnknown
		}
		return b, ours(err)
	})
}

// StatBlob finds a blob without fetching it: one that is not kept is answered
// from the manifest that names it.
func (s *Service) StatBlob(ctx context.Context, req NameBlob) (meta.Blob, error) {
	ctx, asked, err := s.follow(ctx, req.Ask)
	if err != nil {
		return meta.Blob{}, err
	}
	find := func(ctx context.Context, r meta.Repo) (meta.Blob, error) { return s.meta.FindBlob(ctx, r, req.Digest) }
	return byDigest[meta.Blob]{
		walk:   &walk[meta.Blob]{Service: s, asked: asked, hosted: find},
		digest: req.Digest,
		local:  func(ctx context.Context, r meta.Repo, _ *meta.Upstream) (meta.Blob, error) { return find(ctx, r) },
		fetch: func(ctx context.Context, r remote, by named) (meta.Blob, error) {
			if by.size >= 0 {
				return meta.Blob{Digest: req.Digest, Size: by.size}, nil
			}
			return r.statBlob(ctx, req.Digest)
		},
	}.find(ctx, unknownBlob(req.Digest))
}

func (r remote) statBlob(ctx context.Context, d oci.Digest) (meta.Blob, error) {
	what := "stat blob " + d.String() // a 404 of a HEAD is not believed by who wants the blob (E16)
	if r.absent.knows(r.key(what), r.now()) {
		return meta.Blob{}, errNotHere
	}
	size, err := once(ctx, r, what, func(ctx context.Context) (int64, error) {
		return r.client.HasBlob(ctx, r.repo.Name, d)
	})
	if outcomeOf(err) == chain.NotHere {
		r.absent.add(r.key(what), r.now(), r.upstream.Settings.NegativeTTL)
	}
	return meta.Blob{Digest: d, Size: size}, err
}
