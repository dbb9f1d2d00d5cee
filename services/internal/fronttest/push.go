package fronttest

import (
	"bytes"
	"context"
	"io"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// PutBlob stores a blob in a repository by the steps of the storage protocol.
func (d *Deployment) PutBlob(r meta.Repo, content []byte) meta.Blob {
	d.t.Helper()
	ctx := context.Background()
	u, err := d.Meta.CreateUpload(ctx, r, oci.SHA256)
	if err != nil {
		d.t.Fatal(err)
	}
	j := &journal{meta: d.Meta, upload: u}
	h := oci.NewHasher(oci.SHA256)
	if err := d.Blobs.Append(ctx, u.Stage, source{io.TeeReader(bytes.NewReader(content), h), h}, j); err != nil {
		d.t.Fatal(err)
	}
	if u, err = d.Meta.SealUpload(ctx, j.upload, h.Digest()); err != nil {
		d.t.Fatal(err)
	}
	if _, err := d.Blobs.Seal(ctx, u.Stage); err != nil {
		d.t.Fatal(err)
	}
	b, err := d.Meta.CommitUpload(ctx, By(), u, false)
	if err != nil {
		d.t.Fatal(err)
	}
	return b
}

type source struct {
	io.Reader
	hash *oci.Hasher
}

func (s source) Mark() ([]byte, error) { return s.hash.State(), nil }

type journal struct {
	meta   meta.Uploads
	upload meta.Upload
}

func (j *journal) Intend(ctx context.Context, k blob.Key) error {
	return j.meta.IntendTail(ctx, j.upload, k.Incarnation)
}

func (j *journal) Multipart(ctx context.Context, id string) error {
	return j.meta.RecordMultipart(ctx, j.upload, id)
}

func (j *journal) Step(ctx context.Context, p blob.Progress) error {
	var err error
	j.upload, err = j.meta.AdvanceUpload(ctx, j.upload, p)
	return err
}
