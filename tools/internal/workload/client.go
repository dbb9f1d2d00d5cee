package workload

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"

	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/tools/internal/ledger"
	"github.com/berth-registry/berth/tools/internal/ociclient"
)

// Client is one of the clients. Its methods return an error only for what the
// server must never do; a lost answer ends the operation and is left to the
// ledger.
type Client struct {
	*World
	oci   *ociclient.Client
	rng   *rand.Rand
	name  int
	pause func(context.Context)
}

// Client makes the client of a number. After an answer that got lost, or that
// said "later", it calls pause, which returns when it is worth asking again.
func (w *World) Client(number int, oci *ociclient.Client, pause func(context.Context)) *Client {
	return &Client{World: w, oci: oci, rng: rand.New(rand.NewPCG(w.seed, uint64(number)+1)), name: number, pause: pause}
}

// Work continues until ctx ends, or until the server does what it must not.
func (c *Client) Work(ctx context.Context) error {
	// A request is never cut by the end of the run: its answer counts.
	unhurried := context.WithoutCancel(ctx)
	for ctx.Err() == nil {
		err := c.operate(unhurried)
		if ociclient.IsLost(err) {
			c.pause(ctx)
			continue
		}
		if err != nil {
			return fmt.Errorf("client %d: %w", c.name, err)
		}
	}
	return nil
}

func (c *Client) operate(ctx context.Context) error {
	repo, tag := repoName(c.rng.IntN(repositories)), tagName(c.rng.IntN(tags))
	switch n := c.rng.IntN(100); {
	case n < 40:
		return c.push(ctx, repo, tag, c.images[c.rng.IntN(len(c.images))])
	case n < 75:
		return c.pull(ctx, ledger.Tag(repo, tag))
	case n < 80:
		return c.deleteTag(ctx, repo, tag)
	case n < 83:
		return c.login(ctx, repo)
	default:
		return c.pushAndDelete(ctx, repo)
	}
}

// push uploads what the repository lacks and moves the tag.
func (c *Client) push(ctx context.Context, repo, tag string, img ocitest.Image) error {
	if err := c.pushBlobs(ctx, repo, img.Blobs()); err != nil {
		return err
	}
	return c.ledger.Write(ledger.Tag(repo, tag), img.Manifest.Digest.String(), func() error {
		return c.oci.PutManifest(ctx, repo, tag, img.Manifest.Bytes)
	})
}

func (c *Client) pushBlobs(ctx context.Context, repo string, blobs []ocitest.Content) error {
	for _, b := range blobs {
		has, err := c.hasBlob(ctx, repo, b.Digest)
		if err != nil {
			return err
		}
		if has {
			continue
		}
		if err := c.pushBlob(repo, b, func() error { return c.upload(ctx, repo, b) }); err != nil {
			return err
		}
	}
	return nil
}

// pushBlob runs an upload with its entry in the ledger.
func (c *Client) pushBlob(repo string, b ocitest.Content, upload func() error) error {
	digest := b.Digest.String()
	c.mu.Lock()
	c.sizes[digest] = b.Size
	c.mu.Unlock()
	return c.ledger.Write(ledger.Blob(repo, b.Digest), digest, upload)
}

// hasBlob asks by HEAD, and holds the answer against the ledger.
func (c *Client) hasBlob(ctx context.Context, repo string, d oci.Digest) (bool, error) {
	value, err := c.ledger.Verify(ledger.Blob(repo, d), func(r ledger.Register) (string, error) {
		has, err := c.oci.HasBlob(ctx, repo, r.Reference)
		if err != nil || !has {
			return "", err
		}
		return r.Reference, nil
	})
	return value != "", err
}

// pull reads a tag and all that it references.
func (c *Client) pull(ctx context.Context, tag ledger.Register) error {
	digest, err := c.read(ctx, tag)
	if err != nil || digest == "" {
		return err
	}
	img, ok := c.image(digest)
	if !ok {
		return fmt.Errorf("%s leads to a manifest that was never pushed: %s", tag, digest)
	}
	return c.readAll(ctx, tag.Repo, img)
}

func (c *Client) readAll(ctx context.Context, repo string, img ocitest.Image) error {
	for _, b := range img.Blobs() {
		got, ok, err := c.oci.Blob(ctx, repo, b.Digest.String())
		if err != nil {
			return err
		}
		if !ok {
			return fmt.Errorf("%s@%s is referenced by %s and not there", repo, b.Digest, img.Manifest.Digest)
		}
		if !bytes.Equal(got, b.Bytes) {
			return fmt.Errorf("%s@%s: %d bytes came, not the %d that were pushed", repo, b.Digest, len(got), len(b.Bytes))
		}
	}
	return nil
}

func (c *Client) deleteTag(ctx context.Context, repo, tag string) error {
	return c.ledger.Write(ledger.Tag(repo, tag), "", func() error {
		_, err := c.oci.DeleteManifest(ctx, repo, tag)
		return err
	})
}

// login asks for a token, which the registry never denies to this account.
func (c *Client) login(ctx context.Context, repo string) error {
	query := url.Values{"scope": {"repository:" + repo + ":pull,push"}}
	_, err := c.oci.Do(ctx, http.MethodGet, "/token?"+query.Encode(), nil, nil, http.StatusOK)
	return err
}

// pushAndDelete pushes an image of its own by digest and, mostly, deletes it.
// Its layers are shared, so that deletes meet pushes of the same blobs.
func (c *Client) pushAndDelete(ctx context.Context, repo string) error {
	serial := c.serial.Add(1)
	own := noise(c.rng, c.sizeOf(c.rng, 1+c.rng.IntN(4*pooledBlobs)))
	img := newImage(fmt.Sprintf("own %d", serial), []ocitest.Content{c.blobs[c.rng.IntN(len(c.blobs))], own})
	r, digest := ledger.Manifest(repo, img.Manifest.Digest), img.Manifest.Digest.String()
	if err := c.pushBlobs(ctx, repo, img.Blobs()); err != nil {
		return err
	}
	err := c.ledger.Write(r, digest, func() error { return c.oci.PutManifest(ctx, repo, digest, img.Manifest.Bytes) })
	if err != nil {
		return err
	}
	if c.rng.IntN(3) > 0 {
		return c.ledger.Write(r, "", func() error {
			_, err := c.oci.DeleteManifest(ctx, repo, digest)
			return err
		})
	}
	return c.readAll(ctx, repo, img)
}

// Push uploads a small blob that nothing else has, in one request.
func (c *Client) Push(ctx context.Context) error {
	repo, b := repoName(c.rng.IntN(repositories)), noise(c.rng, 2+c.rng.IntN(4<<10))
	return c.pushBlob(repo, b, func() error { return c.oci.PostBlob(ctx, repo, b.Digest.String(), b.Bytes) })
}
