package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/berth-registry/berth/tools/internal/ledger"
	"github.com/berth-registry/berth/tools/internal/ociclient"
)

// worker is one client. Its methods return an error only for what the server
// must never do; a lost answer ends the operation and is left to the ledger.
type worker struct {
	*world
	oci   *ociclient.Client
	rng   *rand.Rand
	name  int
	alive func(context.Context) bool
}

// work goes on until ctx ends.
func (w *worker) work(ctx context.Context) error {
	// A request is never cut by the end of the run: its answer counts.
	unhurried := context.WithoutCancel(ctx)
	for ctx.Err() == nil {
		err := w.operate(unhurried)
		if lost := (*ociclient.Lost)(nil); errors.As(err, &lost) {
			w.await(ctx)
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// await waits until the server is there again.
func (w *worker) await(ctx context.Context) {
	for ctx.Err() == nil && !w.alive(ctx) {
		select {
		case <-ctx.Done():
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (w *worker) operate(ctx context.Context) error {
	repo, tag := repoName(w.rng.IntN(repositories)), tagName(w.rng.IntN(tags))
	switch n := w.rng.IntN(100); {
	case n < 40:
		return w.push(ctx, repo, tag, w.images[w.rng.IntN(len(w.images))])
	case n < 75:
		return w.pull(ctx, repo, tag)
	case n < 80:
		return w.deleteTag(ctx, repo, tag)
	default:
		return w.pushAndDelete(ctx, repo)
	}
}

// push uploads what the repository lacks and moves the tag.
func (w *worker) push(ctx context.Context, repo, tag string, img image) error {
	if err := w.pushBlobs(ctx, repo, img.blobs); err != nil {
		return err
	}
	return w.set(w.byTag, repo+":"+tag, img.manifest.digest, func() error {
		return w.oci.PutManifest(ctx, repo, tag, img.manifest.bytes)
	})
}

// set runs a write with its entry in the ledger.
func (w *worker) set(l *ledger.Ledger, key, value string, do func() error) error {
	entry := l.Begin(key, value)
	err := do()
	refused := (*ociclient.Refused)(nil)
	switch lost := (*ociclient.Lost)(nil); {
	case err == nil:
		l.Acknowledge(entry)
	case !errors.As(err, &lost) && errors.As(err, &refused):
		l.Refuse(entry)
	}
	return err
}

func (w *worker) pushBlobs(ctx context.Context, repo string, blobs []content) error {
	for _, b := range blobs {
		has, err := w.oci.HasBlob(ctx, repo, b.digest)
		if err != nil {
			return err
		}
		if has {
			continue
		}
		if err := w.set(w.pushed, repo+"@"+b.digest, b.digest, func() error { return w.upload(ctx, repo, b) }); err != nil {
			return err
		}
	}
	return nil
}

// upload chooses one of the ways a blob can come.
func (w *worker) upload(ctx context.Context, repo string, b content) error {
	switch w.rng.IntN(4) {
	case 0:
		return w.oci.PostBlob(ctx, repo, b.digest, b.bytes)
	case 1:
		mounted, location, err := w.oci.Mount(ctx, repo, b.digest, repoName(w.rng.IntN(repositories)))
		if err != nil || mounted {
			return err
		}
		return w.oci.Close(ctx, location, b.digest, b.bytes)
	default:
		location, err := w.oci.Open(ctx, repo)
		if err != nil {
			return err
		}
		return w.resume(ctx, location, b)
	}
}

// resume sends a blob in chunks and goes on after each lost answer from where
// the server says it is: a session survives the server (R2).
func (w *worker) resume(ctx context.Context, location string, b content) error {
	offset := 0
	for tries := 0; ; {
		err := w.send(ctx, &location, &offset, b)
		lost := (*ociclient.Lost)(nil)
		if err == nil || !errors.As(err, &lost) {
			return err
		}
		if tries++; tries > 5 {
			return err
		}
		w.await(ctx)
		held, next, err := w.oci.Offset(ctx, location)
		if refused := (*ociclient.Refused)(nil); errors.As(err, &refused) && refused.Status == http.StatusNotFound {
			// The last PUT may have ended the session although its answer is lost.
			has, herr := w.oci.HasBlob(ctx, repoOf(location), b.digest)
			if herr != nil || has {
				return herr
			}
			return fmt.Errorf("the session is gone and the blob is not there: %w", err)
		}
		if err != nil {
			return err
		}
		if held < offset {
			return fmt.Errorf("the session forgot acknowledged bytes: it held %d, now %d", offset, held)
		}
		location, offset = next, held
	}
}

func (w *worker) send(ctx context.Context, location *string, offset *int, b content) error {
	for len(b.bytes)-*offset > 4 {
		n := 2 + w.rng.IntN(len(b.bytes)-*offset-2)
		next, err := w.oci.Patch(ctx, *location, *offset, b.bytes[*offset:*offset+n])
		if err != nil {
			return err
		}
		*location, *offset = next, *offset+n
		if w.rng.IntN(3) == 0 {
			break
		}
	}
	return w.oci.Close(ctx, *location, b.digest, b.bytes[*offset:])
}

// pull reads a tag and all that it references.
func (w *worker) pull(ctx context.Context, repo, tag string) error {
	start := time.Now()
	got, ok, err := w.oci.Manifest(ctx, repo, tag)
	if err != nil {
		return err
	}
	if !ok {
		return w.byTag.Check(repo+":"+tag, "", start, time.Now())
	}
	m := contentOf(got)
	if err := w.byTag.Check(repo+":"+tag, m.digest, start, time.Now()); err != nil {
		return err
	}
	img, ok := w.image(m.digest)
	if !ok {
		return fmt.Errorf("%s:%s is a manifest that nobody pushed: %s", repo, tag, got)
	}
	return w.readAll(ctx, repo, img)
}

func (w *worker) readAll(ctx context.Context, repo string, img image) error {
	for _, b := range img.blobs {
		got, ok, err := w.oci.Blob(ctx, repo, b.digest)
		if err != nil {
			return err
		}
		if !ok {
			return fmt.Errorf("%s@%s is referenced by %s and not there", repo, b.digest, img.manifest.digest)
		}
		if !bytes.Equal(got, b.bytes) {
			return fmt.Errorf("%s@%s: %d bytes came, not the %d that were pushed", repo, b.digest, len(got), len(b.bytes))
		}
	}
	return nil
}

func (w *worker) deleteTag(ctx context.Context, repo, tag string) error {
	return w.set(w.byTag, repo+":"+tag, "", func() error {
		_, err := w.oci.DeleteManifest(ctx, repo, tag)
		return err
	})
}

// pushAndDelete pushes an image of its own by digest and, mostly, deletes it.
// Its layers are shared, so that deletes meet pushes of the same blobs.
func (w *worker) pushAndDelete(ctx context.Context, repo string) error {
	serial := w.serial.Add(1)
	layers := []content{w.blobs[w.rng.IntN(len(w.blobs))], contentOf(fmt.Appendf(nil, "layer %d of client %d", serial, w.name))}
	img := newImage(fmt.Sprintf("own %d", serial), layers)
	key := repo + "@" + img.manifest.digest
	if err := w.pushBlobs(ctx, repo, img.blobs); err != nil {
		return err
	}
	err := w.set(w.byImage, key, img.manifest.digest, func() error {
		return w.oci.PutManifest(ctx, repo, img.manifest.digest, img.manifest.bytes)
	})
	if err != nil {
		return err
	}
	if w.rng.IntN(3) > 0 {
		return w.set(w.byImage, key, "", func() error {
			_, err := w.oci.DeleteManifest(ctx, repo, img.manifest.digest)
			return err
		})
	}
	return w.readAll(ctx, repo, img)
}
