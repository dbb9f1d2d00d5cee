package fronttest

import (
	"bytes"
	"context"
	"io"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/services/internal/ingest"
)

// PutBlob stores a blob in a repository by the steps of the storage protocol.
func (d *Deployment) PutBlob(r meta.Repo, content []byte) meta.Blob {
	d.t.Helper()
	ctx := context.Background()
	u, err := d.Meta.SealUpload(ctx, d.StageBlob(r, content), oci.DigestOf(oci.SHA256, content))
	if err != nil {
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

// StageBlob uploads content into a session that it leaves open.
func (d *Deployment) StageBlob(r meta.Repo, content []byte) meta.Upload {
	d.t.Helper()
	ctx := context.Background()
	u, err := d.Meta.CreateUpload(ctx, r, oci.SHA256)
	if err != nil {
		d.t.Fatal(err)
	}
	j := ingest.NewJournal(d.Meta, u)
	h := oci.NewHasher(oci.SHA256)
	if err := d.Blobs.Append(ctx, u.Stage, source{io.TeeReader(bytes.NewReader(content), h), h}, j); err != nil {
		d.t.Fatal(err)
	}
	return j.Upload()
}

// PutManifest stores a manifest under tags.
func (d *Deployment) PutManifest(r meta.Repo, payload []byte, tags ...string) oci.Digest {
	d.t.Helper()
	parsed, err := oci.ParseManifest("", payload)
	if err != nil {
		d.t.Fatal(err)
	}
	m := meta.Manifest{Digest: oci.DigestOf(oci.SHA256, payload), MediaType: parsed.MediaType, Payload: payload}
	if err := d.Meta.PutManifest(context.Background(), meta.ManifestPut{Repo: r, Manifest: m, Parsed: parsed, Tags: tags, By: By()}); err != nil {
		d.t.Fatal(err)
	}
	return m.Digest
}

type source struct {
	io.Reader
	hash *oci.Hasher
}

func (s source) Mark() ([]byte, error) { return s.hash.State(), nil }
