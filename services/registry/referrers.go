package registry

import (
	"context"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// Limits of one page of referrers (contract row D4). Annotations make a
// referrer anything from 200 bytes to 4 MiB, so that rows are fetched in
// batches: a few first, then as many as should fit by the size of those.
const (
	maxReferrersPage = 4 << 20 // bytes of descriptors
	firstBatch       = 4
	maxBatch         = 256
)

// ListReferrers asks for one page of the manifests that have a subject.
type ListReferrers struct {
	Repo         meta.Repo
	Subject      oci.Digest
	ArtifactType string // empty for all
	Page         meta.Page
}

// Referrers is one page of referrers in the order of their digests.
type Referrers struct {
	Descriptors []jsontext.Value // as they stand in the index
	Last        oci.Digest       // of the last descriptor
	More        bool
}

// ListReferrers lists at most Page.Size referrers, fewer if they are more than
// 4 MiB.
func (s *Service) ListReferrers(ctx context.Context, req ListReferrers) (Referrers, error) {
	var found Referrers
	room := maxReferrersPage
	after := req.Page.After
	fits := firstBatch
	for {
		left := req.Page.Size - len(found.Descriptors)
		batch := meta.Page{After: after, Size: min(left+1, fits)} // left+1: see oneMore
		rows, err := s.meta.ListReferrers(ctx, req.Repo, req.Subject, req.ArtifactType, batch)
		if err != nil {
			return Referrers{}, err
		}
		for _, row := range rows {
			d, err := encodeReferrer(row)
			if err != nil {
				return Referrers{}, err
			}
			// The first one has its place whatever its size, or the list ended here.
			if full := len(d) > room && found.Descriptors != nil; full || len(found.Descriptors) == req.Page.Size {
				found.More = true
				return found, nil
			}
			room -= len(d) + 1 // the comma
			found.Descriptors = append(found.Descriptors, d)
			found.Last = row.Digest
		}
		if len(rows) < batch.Size && bytesOf(rows) < meta.MaxReferrerBytes {
			return found, nil
		}
		after = rows[len(rows)-1].Digest.String()
		average := (maxReferrersPage - room) / len(found.Descriptors)
		fits = min(max(room, 0)/average+1, maxBatch)
	}
}

func bytesOf(rows []meta.Referrer) int64 {
	var n int64
	for _, r := range rows {
		n += r.Size
	}
	return n
}

// encodeReferrer leaves the annotations out where they alone would fill a
// page: they are in the manifest, and a page without entries never ends.
func encodeReferrer(r meta.Referrer) (jsontext.Value, error) {
	d := oci.Descriptor{MediaType: r.MediaType, Digest: r.Digest, Size: r.Size, ArtifactType: r.ArtifactType, Annotations: r.Annotations}
	b, err := json.Marshal(d, json.Deterministic(true))
	if err == nil && len(b) > maxReferrersPage {
		d.Annotations = nil
		b, err = json.Marshal(d)
	}
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, fault.InternalReason, "a referrer could not be listed")
	}
	return b, nil
}
