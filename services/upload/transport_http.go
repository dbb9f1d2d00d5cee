package upload

import (
	"context"
	"net/http"
	"net/url"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/ocihttp"
	"github.com/berth-registry/berth/services/internal/front"
	"github.com/berth-registry/berth/services/internal/kit"
)

// NewHandler serves the operations over HTTP, behind a front. mw go around each
// operation, the first outermost.
func NewHandler(s *Service, mw ...kit.Middleware) http.Handler {
	e := newEndpoints(s, mw)
	fail := kit.Errors(front.WriteError)

	start := kit.Handler(e.startUpload, decodeStartUpload, encodeAccepted, fail)
	put := kit.Handler(e.putBlob, decodePutBlob, encodeBlob, fail)
	mount := kit.Handler(e.mountBlob, decodeMountBlob, encodeMounted, fail)

	return interruptible(front.Endpoints{
		ocihttp.UploadStart: {http.MethodPost: byQuery(mount, put, start)},
		ocihttp.Upload: {
			http.MethodGet:    kit.Handler(e.findUpload, decodeSession, encodeStatus, fail),
			http.MethodPatch:  kit.Handler(e.appendUpload, decodeAppendUpload, encodeAccepted, fail),
			http.MethodPut:    kit.Handler(e.commitUpload, decodeCommitUpload, encodeBlob, fail),
			http.MethodDelete: kit.Handler(e.cancelUpload, decodeSession, encodeEmpty, fail),
		},
	})
}

// byQuery picks the operation of a POST by its parameters (distribution-spec,
// "Endpoints": end-4a, end-4b and end-11 are one path).
func byQuery(mount, put, start http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch q := front.CallOf(r.Context()).Query; {
		case q.Has("mount"):
			mount.ServeHTTP(w, r)
		case q.Has("digest"):
			put.ServeHTTP(w, r)
		default:
			start.ServeHTTP(w, r)
		}
	})
}

func decodeStartUpload(ctx context.Context, _ *http.Request) (StartUploadRequest, error) {
	c := front.CallOf(ctx)
	a, err := algorithmOf(c.Query, oci.SHA256)
	return StartUploadRequest{Repo: c.Repo(), Algorithm: a}, err
}

func decodePutBlob(ctx context.Context, r *http.Request) (PutBlobRequest, error) {
	c := front.CallOf(ctx)
	d, err := digestOf(c.Query, "digest")
	if err != nil {
		return PutBlobRequest{}, err
	}
	b, err := bodyOf(r)
	if err == nil && b.Start > 0 {
		err = fault.New(fault.OutOfRange, fault.BlobUploadInvalid, "a blob sent in one request must start at 0, not at %d", b.Start)
	}
	return PutBlobRequest{Repo: c.Repo(), Digest: d, Body: b, By: c.Cause(ctx)}, err
}

func decodeMountBlob(ctx context.Context, _ *http.Request) (MountBlobRequest, error) {
	c := front.CallOf(ctx)
	d, err := digestOf(c.Query, "mount")
	if err != nil {
		return MountBlobRequest{}, err
	}
	a, err := algorithmOf(c.Query, d.Algorithm())
	return MountBlobRequest{
		Repo:   c.Repo(),
		Digest: d,
		From:   c.Query.Get("from"),
		MayPull: func(repository string) bool {
			return c.Allowed(access.Repository(repository, access.Pull)).Has(access.Pull)
		},
		Algorithm: a,
		By:        c.Cause(ctx),
	}, err
}

func decodeSession(ctx context.Context, _ *http.Request) (SessionRequest, error) {
	c := front.CallOf(ctx)
	return SessionRequest{Repo: c.Repo(), ID: c.Route.Upload}, nil
}

func decodeAppendUpload(ctx context.Context, r *http.Request) (AppendUploadRequest, error) {
	c := front.CallOf(ctx)
	b, err := bodyOf(r)
	return AppendUploadRequest{Repo: c.Repo(), ID: c.Route.Upload, Body: b}, err
}

func decodeCommitUpload(ctx context.Context, r *http.Request) (CommitUploadRequest, error) {
	c := front.CallOf(ctx)
	d, err := digestOf(c.Query, "digest")
	if err != nil {
		return CommitUploadRequest{}, err
	}
	b, err := bodyOf(r)
	return CommitUploadRequest{Repo: c.Repo(), ID: c.Route.Upload, Digest: d, Body: b, By: c.Cause(ctx)}, err
}

// digestOf reads the one digest of a query.
func digestOf(q url.Values, key string) (oci.Digest, error) {
	if len(q[key]) != 1 {
		return "", fault.New(fault.Invalid, fault.DigestInvalid, "give %s once, with a digest", key).WithField(key)
	}
	return oci.ParseDigest(q.Get(key))
}

// algorithmOf reads the algorithm that the client declares for its digest
// (distribution-spec, end-4c).
func algorithmOf(q url.Values, otherwise oci.Algorithm) (oci.Algorithm, error) {
	if !q.Has("digest-algorithm") {
		return otherwise, nil
	}
	return oci.ParseAlgorithm(q.Get("digest-algorithm"))
}

// bodyOf reads the declared range and length of a body.
func bodyOf(r *http.Request) (Body, error) {
	b := Body{Bytes: r.Body, Start: -1, Length: r.ContentLength}
	if err := ocihttp.CheckContentEncoding(r); err != nil {
		return b, err
	}
	said := r.Header.Get("Content-Range")
	if said == "" {
		return b, nil
	}
	start, end, err := ocihttp.ParseContentRange(said)
	if err != nil {
		return b, err
	}
	n := end - start + 1
	if b.Length >= 0 && b.Length != n {
		return b, fault.New(fault.Invalid, fault.SizeInvalid,
			"Content-Range is of %d bytes, Content-Length of %d", n, b.Length).WithField("Content-Range")
	}
	b.Start, b.Length = start, n
	return b, nil
}

// encodeAccepted writes the location and offset of the session. Locations are paths
// without a host, so that they work behind any proxy (contract row A2).
func encodeAccepted(_ context.Context, w http.ResponseWriter, s SessionResponse) error {
	setSession(w.Header(), s)
	w.WriteHeader(http.StatusAccepted)
	return nil
}

func encodeStatus(_ context.Context, w http.ResponseWriter, s SessionResponse) error {
	setSession(w.Header(), s)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func setSession(h http.Header, s SessionResponse) {
	h.Set("Location", ocihttp.Route{Kind: ocihttp.Upload, Name: s.Repo.Name, Upload: s.ID}.Path())
	h.Set("Docker-Upload-UUID", s.ID.String())
	h.Set("Range", ocihttp.FormatUploadRange(s.Offset))
}

func encodeBlob(ctx context.Context, w http.ResponseWriter, s BlobResponse) error {
	h := w.Header()
	if s.Shared {
		front.CallOf(ctx).CountShared(h, s.Blob.Size)
	}
	h.Set("Location", ocihttp.Route{Kind: ocihttp.Blob, Name: s.Repo.Name, Digest: s.Blob.Digest}.Path())
	h.Set("Docker-Content-Digest", s.Blob.Digest.String())
	w.WriteHeader(http.StatusCreated)
	return nil
}

func encodeMounted(ctx context.Context, w http.ResponseWriter, m MountBlobResponse) error {
	if m.Stored != nil {
		return encodeBlob(ctx, w, *m.Stored)
	}
	return encodeAccepted(ctx, w, m.Session)
}

func encodeEmpty(_ context.Context, w http.ResponseWriter, _ kit.Empty) error {
	w.WriteHeader(http.StatusNoContent)
	return nil
}
