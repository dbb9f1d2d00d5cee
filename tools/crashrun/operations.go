package main

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/tools/internal/ledger"
	"github.com/berth-registry/berth/tools/internal/ociclient"
)

// operation is something that the victim is killed in. Its prepare brings about
// what it needs, and returns what is watched.
type operation struct {
	name    string
	rows    string // of the fault contract
	shape   string // the only one that has it; empty is all
	about   string // steps that are of interest end with it
	prepare func(context.Context, *client) (act, error)
}

type act func(context.Context) error

var operations = []operation{
	{name: "push", rows: "R5-R8", prepare: push},
	{name: "push again", rows: "R5-R8", prepare: pushAgain},
	{name: "upload in chunks", rows: "R1-R8", prepare: uploadChunks},
	{name: "upload of parts", rows: "R1-R8", prepare: uploadParts},
	{name: "cancel", rows: "R10", prepare: cancel},
	{name: "mount", rows: "R10", prepare: mount},
	{name: "manifest, new tag", rows: "R9", prepare: putNewTag},
	{name: "manifest, moved tag", rows: "R9", prepare: putMovedTag},
	{name: "manifest, referrer", rows: "R9", prepare: putReferrer},
	{name: "index", rows: "R9", prepare: putIndex},
	{name: "tag delete", rows: "R10", prepare: deleteTag},
	{name: "manifest delete", rows: "R10", prepare: deleteManifest},
	{name: "manifest delete, referrers", rows: "R10", prepare: deleteReferrers},
	{name: "blob delete", rows: "R10", prepare: deleteBlob},
	{name: "repository delete", rows: "R10", prepare: deleteRepository},
	{name: "manifest undelete", rows: "W11", prepare: undeleteManifest},
	{name: "repository undelete", rows: "W26", prepare: undeleteRepository},
	{name: "promotion", rows: "W150", prepare: promote},
	{name: "purge", rows: "W24", prepare: purgeDigest},
	{name: "janitor", rows: "R10", prepare: runJanitor},
	{name: "checkpoint", rows: "R7", shape: "embedded", about: " meta.db", prepare: checkpoint},
	{name: "start", rows: "R13", prepare: restart},
}

// set writes a register and keeps in mind what it holds from then on.
func (c *client) set(ctx context.Context, r ledger.Register, value string, ask func(*ociclient.Client) error) error {
	if err := c.write(ctx, r, value, ask); err != nil {
		return err
	}
	c.current[r] = value
	return nil
}

// keepBlob writes the register of a blob that is pushed, which the tenant is
// charged for once.
func (c *client) keepBlob(ctx context.Context, repo string, b ocitest.Content, ask func(*ociclient.Client) error) error {
	if err := c.set(ctx, ledger.Blob(repo, b.Digest), b.Digest.String(), ask); err != nil {
		return err
	}
	c.charged[b.Digest.String()] = b.Size
	return nil
}

func (c *client) pushBlob(ctx context.Context, repo string, b ocitest.Content) error {
	return c.keepBlob(ctx, repo, b, c.audited("blob.push", repo+"@"+b.Digest.String(), func(oci *ociclient.Client) error {
		return oci.PostBlob(ctx, repo, b.Digest.String(), b.Bytes)
	}))
}

func (c *client) pushBlobs(ctx context.Context, repo string, img ocitest.Image) error {
	for _, b := range img.Blobs() {
		if err := c.pushBlob(ctx, repo, b); err != nil {
			return err
		}
	}
	return nil
}

// putManifest puts an image under a tag, or by digest where that is empty. Its
// own register is written with the tag's: they are one request.
func (c *client) putManifest(ctx context.Context, repo, tag string, img ocitest.Image) error {
	var names []ledger.Register
	for _, b := range img.Blobs() {
		names = append(names, ledger.Blob("", b.Digest))
	}
	c.names[img.Manifest.Digest.String()] = names
	return c.put(ctx, repo, tag, img.Manifest, (*ociclient.Client).PutManifest)
}

type putter func(oci *ociclient.Client, ctx context.Context, repo, reference string, content []byte) error

func (c *client) put(ctx context.Context, repo, tag string, m ocitest.Content, put putter) error {
	byDigest, byTag, digest := ledger.Manifest(repo, m.Digest), ledger.Tag(repo, tag), m.Digest.String()
	if tag == "" {
		return c.set(ctx, byDigest, digest, c.audited("manifest.put", repo+"@"+digest, func(oci *ociclient.Client) error {
			return put(oci, ctx, repo, digest, m.Bytes)
		}))
	}
	return c.together(map[ledger.Register]string{byDigest: digest, byTag: digest}, func() error {
		return c.set(ctx, byDigest, digest, func(*ociclient.Client) error {
			return c.set(ctx, byTag, digest, c.audited("manifest.put", repo+":"+tag+"@"+digest, func(oci *ociclient.Client) error {
				return put(oci, ctx, repo, tag, m.Bytes)
			}))
		})
	})
}

// pushImage pushes a small image without being watched.
func (c *client) pushImage(ctx context.Context, repo, tag string, shared ...ocitest.Content) (ocitest.Image, error) {
	img := newImage(c.name("image"), ocitest.Extra{}, append(shared, c.small())...)
	if err := c.pushBlobs(ctx, repo, img); err != nil {
		return ocitest.Image{}, err
	}
	return img, c.putManifest(ctx, repo, tag, img)
}

func push(_ context.Context, c *client) (act, error) {
	repo, b := c.repo(), c.small()
	return func(ctx context.Context) error { return c.pushBlob(ctx, repo, b) }, nil
}

// pushAgain brings a blob that the tenant has, in the same repository or in
// another.
func pushAgain(ctx context.Context, c *client) (act, error) {
	repo, b := c.repo(), c.small()
	if err := c.pushBlob(ctx, repo, b); err != nil {
		return nil, err
	}
	if c.rng.IntN(2) == 0 {
		repo = c.repo()
	}
	return func(ctx context.Context) error { return c.pushBlob(ctx, repo, b) }, nil
}

func mount(ctx context.Context, c *client) (act, error) {
	from, to, b := c.repo(), c.repo(), c.small()
	return func(ctx context.Context) error {
		return c.keepBlob(ctx, to, b, c.audited("blob.mount", to+"@"+b.Digest.String(), func(oci *ociclient.Client) error {
			mounted, _, err := oci.Mount(ctx, to, b.Digest.String(), from)
			if err == nil && !mounted {
				err = fmt.Errorf("%s@%s was there and is not mounted", from, b.Digest)
			}
			return err
		}))
	}, c.pushBlob(ctx, from, b)
}

func putNewTag(ctx context.Context, c *client) (act, error) {
	repo, img := c.repo(), newImage(c.name("image"), ocitest.Extra{}, c.small(), c.small())
	return func(ctx context.Context) error { return c.putManifest(ctx, repo, "v1", img) }, c.pushBlobs(ctx, repo, img)
}

func putMovedTag(ctx context.Context, c *client) (act, error) {
	repo := c.repo()
	if _, err := c.pushImage(ctx, repo, "v1"); err != nil {
		return nil, err
	}
	next := newImage(c.name("image"), ocitest.Extra{}, c.small())
	return func(ctx context.Context) error { return c.putManifest(ctx, repo, "v1", next) }, c.pushBlobs(ctx, repo, next)
}

// putReferrer puts a manifest with a subject by digest. It is listed if and only
// if it is there.
func putReferrer(ctx context.Context, c *client) (act, error) {
	repo := c.repo()
	subject, err := c.pushImage(ctx, repo, "v1")
	if err != nil {
		return nil, err
	}
	referrer := newImage(c.name("referrer"), about(subject), c.small())
	return func(ctx context.Context) error {
		if err := c.putManifest(ctx, repo, "", referrer); err != nil {
			return err
		}
		var listed []string
		err := c.try(ctx, func(oci *ociclient.Client) error {
			var err error
			listed, err = oci.Referrers(ctx, repo, subject.Manifest.Digest.String())
			return err
		})
		if err == nil && !slices.Contains(listed, referrer.Manifest.Digest.String()) {
			err = fmt.Errorf("referrer %s of %s is there and not listed", referrer.Manifest.Digest, subject.Manifest.Digest)
		}
		return err
	}, c.pushBlobs(ctx, repo, referrer)
}

func putIndex(ctx context.Context, c *client) (act, error) {
	repo := c.repo()
	var images []ocitest.Image
	var names []ledger.Register
	for range 2 {
		img, err := c.pushImage(ctx, repo, "")
		if err != nil {
			return nil, err
		}
		images, names = append(images, img), append(names, ledger.Manifest("", img.Manifest.Digest))
	}
	index := newIndex(c.name("index"), images...)
	return func(ctx context.Context) error {
		c.names[index.Digest.String()] = names
		return c.put(ctx, repo, "v1", index, (*ociclient.Client).PutIndex)
	}, nil
}

func deleteTag(ctx context.Context, c *client) (act, error) {
	repo := c.repo()
	_, err := c.pushImage(ctx, repo, "v1")
	return func(ctx context.Context) error {
		return c.set(ctx, ledger.Tag(repo, "v1"), "", c.audited("tag.delete", repo+":v1", func(oci *ociclient.Client) error {
			_, err := oci.DeleteManifest(ctx, repo, "v1")
			return err
		}))
	}, err
}

func deleteManifest(ctx context.Context, c *client) (act, error) {
	repo := c.repo()
	img, err := c.pushImage(ctx, repo, "v1")
	return func(ctx context.Context) error { return c.removeImage(ctx, repo, "v1", img) }, err
}

// removeImage deletes a manifest, which takes the tag that points to it along in
// the same step.
func (c *client) removeImage(ctx context.Context, repo, tag string, img ocitest.Image) error {
	byTag, byDigest := ledger.Tag(repo, tag), ledger.Manifest(repo, img.Manifest.Digest)
	return c.together(map[ledger.Register]string{byTag: "", byDigest: ""}, func() error {
		return c.set(ctx, byTag, "", func(*ociclient.Client) error {
			return c.set(ctx, byDigest, "", c.audited("manifest.delete", repo+"@"+img.Manifest.Digest.String(), func(oci *ociclient.Client) error {
				_, err := oci.DeleteManifest(ctx, repo, img.Manifest.Digest.String())
				return err
			}))
		})
	})
}

func deleteBlob(ctx context.Context, c *client) (act, error) {
	repo, b := c.repo(), c.small()
	return func(ctx context.Context) error {
		return c.set(ctx, ledger.Blob(repo, b.Digest), "", c.audited("blob.delete", repo+"@"+b.Digest.String(), func(oci *ociclient.Client) error {
			_, err := oci.DeleteBlob(ctx, repo, b.Digest.String())
			return err
		}))
	}, c.pushBlob(ctx, repo, b)
}

// deleteRepository deletes by the admin API; all that the repository holds is
// gone at once, and its bytes with the janitor.
func deleteRepository(ctx context.Context, c *client) (act, error) {
	repo := c.repo()
	if _, err := c.pushImage(ctx, repo, "v1"); err != nil {
		return nil, err
	}
	return func(ctx context.Context) error { return c.removeRepository(ctx, repo) }, c.pushBlob(ctx, repo, c.small())
}

func (c *client) removeRepository(ctx context.Context, repo string) error {
	gone := map[ledger.Register]string{}
	for r := range c.current {
		if r.Repo == repo {
			gone[r] = ""
		}
	}
	return c.setTogether(ctx, gone, c.audited("repository.delete", repo, func(oci *ociclient.Client) error {
		admin := c.admin(oci)
		_, err := admin.Do(ctx, http.MethodDelete, admin.Base+"/repositories/"+repo, nil, nil, http.StatusOK, http.StatusNotFound)
		return err
	}))
}

// setTogether writes registers by one request, which changes them in one step.
func (c *client) setTogether(ctx context.Context, values map[ledger.Register]string, ask func(*ociclient.Client) error) error {
	request := func(*ociclient.Client) error { return c.try(ctx, ask) }
	for _, r := range ledger.Sorted(maps.Keys(values)) {
		next := request
		request = func(*ociclient.Client) error { return c.set(ctx, r, values[r], next) }
	}
	return c.together(values, func() error { return request(c.oci) })
}
