package policy

import (
	"context"
	"errors"
	"io"
	"slices"

	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/cosign"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/scan"
	"github.com/berth-registry/berth/services/internal/respond"
)

// Content is what rules read besides a manifest: its config, and signatures. Nothing that
// it returns was checked by rules. What does not exist is an error of outcome NotHere;
// whatever could not be read is another error.
type Content interface {
	FindManifest(ctx context.Context, r meta.Repo, ref oci.Reference) (meta.Manifest, error)
	// OpenBlob opens a blob. The caller closes it.
	OpenBlob(ctx context.Context, r meta.Repo, d oci.Descriptor) (io.ReadCloser, error)
	ListReferrers(ctx context.Context, r meta.Repo, subject oci.Digest) ([]meta.Referrer, error)
}

// StoredMeta is the part of meta.Store that Stored reads.
type StoredMeta interface {
	FindManifest(ctx context.Context, r meta.Repo, ref oci.Reference) (meta.Manifest, error)
	FindCachedTag(ctx context.Context, r meta.Repo, tag string) (meta.CachedTag, error)
	FindBlob(ctx context.Context, r meta.Repo, d oci.Digest) (meta.Blob, error)
	ListReferrers(ctx context.Context, r meta.Repo, subject oci.Digest, artifactType string, p meta.Page) ([]meta.Referrer, error)
}

// Stored is the content that is cached, however old. No upstream is asked for it.
type Stored struct {
	Meta  StoredMeta
	Blobs respond.Blobs
}

// FindManifest implements Content.
func (s Stored) FindManifest(ctx context.Context, r meta.Repo, ref oci.Reference) (meta.Manifest, error) {
	if ref.Digest == "" {
		c, err := s.Meta.FindCachedTag(ctx, r, ref.Tag)
		return c.Manifest, chain.Internal(err)
	}
	m, err := s.Meta.FindManifest(ctx, r, ref)
	return m, chain.Internal(err)
}

// OpenBlob implements Content.
func (s Stored) OpenBlob(ctx context.Context, r meta.Repo, d oci.Descriptor) (io.ReadCloser, error) {
	b, err := s.Meta.FindBlob(ctx, r, d.Digest)
	if err != nil {
		return nil, chain.Internal(err)
	}
	opened, err := s.Blobs.Open(ctx, b, false, "")
	return opened.Content, chain.Internal(err)
}

// maxListed is how many referrers of one type are listed, of which most may be attestations.
const maxListed = 1000

// listedApart are the types of signatures, attestations and results of scans.
var listedApart = []string{cosign.Bundle, cosign.SignatureArtifact, cosign.InToto, scan.SARIF}

// ListReferrers implements Content. Those that are listed apart come first, so that no number of
// others hides them.
func (s Stored) ListReferrers(ctx context.Context, r meta.Repo, subject oci.Digest) ([]meta.Referrer, error) {
	var all []meta.Referrer
	for _, one := range listedApart {
		rows, err := s.Meta.ListReferrers(ctx, r, subject, one, meta.Page{Size: maxListed})
		if err != nil {
			return nil, chain.Internal(err)
		}
		all = append(all, rows...)
	}
	rows, err := s.Meta.ListReferrers(ctx, r, subject, "", meta.Page{Size: maxEvidence})
	for _, row := range rows {
		if !slices.Contains(listedApart, row.ArtifactType) {
			all = append(all, row)
		}
	}
	return all, chain.Internal(err)
}

// Hosted is the content that is pushed.
type Hosted struct{ Stored }

// FindManifest implements Content.
func (h Hosted) FindManifest(ctx context.Context, r meta.Repo, ref oci.Reference) (meta.Manifest, error) {
	m, err := h.Meta.FindManifest(ctx, r, ref)
	return m, chain.Internal(err)
}

// IsAbsent reports whether the error of a Content means that it does not exist. Lost bytes
// of a cached blob are as if it were not cached.
func IsAbsent(err error) bool {
	return chain.OutcomeOf(err) == chain.NotHere || errors.Is(err, respond.ErrContentLost)
}

// content is where rules read: from the upstream, if the checker may ask it.
func (c Checker) content() Content {
	if c.Upstream != nil {
		return c.Upstream
	}
	return c.Stored
}

// errTooLong is the error of readBlob for a blob of more bytes than are read.
var errTooLong = errors.New("policy: the blob is too long")

// readBlob reads a blob of at most limit bytes, and compares its digest.
func readBlob(ctx context.Context, from Content, r meta.Repo, d oci.Descriptor, limit int64) ([]byte, error) {
	if d.Size > limit {
		return nil, errTooLong
	}
	content, err := from.OpenBlob(ctx, r, d)
	if err != nil {
		return nil, err
	}
	payload, err := io.ReadAll(io.LimitReader(content, limit+1))
	switch err = errors.Join(err, content.Close()); {
	case err != nil:
		return nil, fault.Down(err, "the content of this blob")
	case int64(len(payload)) > limit:
		return nil, errTooLong
	case oci.DigestOf(d.Digest.Algorithm(), payload) != d.Digest:
		return nil, fault.Down(respond.ErrContentLost, "the content of this blob")
	}
	return payload, nil
}
