package workload

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"time"

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
		return c.pull(ctx, repo, tag)
	case n < 80:
		return c.deleteTag(ctx, repo, tag)
	case n < 83:
		return c.login(ctx, repo)
	default:
		return c.pushAndDelete(ctx, repo)
	}
}

// push uploads what the repository lacks and moves the tag.
func (c *Client) push(ctx context.Context, repo, tag string, img image) error {
	if err := c.pushBlobs(ctx, repo, img.blobs); err != nil {
		return err
	}
	return c.set(c.byTag, repo+":"+tag, img.manifest.digest, func() error {
		return c.oci.PutManifest(ctx, repo, tag, img.manifest.bytes)
	})
}

// set runs a write with its entry in the ledger.
func (c *Client) set(l *ledger.Ledger, key, value string, do func() error) error {
	entry := l.Begin(key, value)
	err := do()
	switch {
	case err == nil:
		l.Acknowledge(entry)
	case !ociclient.IsLost(err) && ociclient.StatusOf(err) != 0:
		l.Refuse(entry)
	}
	return err
}

func (c *Client) pushBlobs(ctx context.Context, repo string, blobs []content) error {
	for _, b := range blobs {
		has, err := c.hasBlob(ctx, repo, b.digest)
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

// pushBlob runs an upload with its entries in the books.
func (c *Client) pushBlob(repo string, b content, upload func() error) error {
	c.mu.Lock()
	c.sizes[b.digest] = int64(len(b.bytes))
	c.mu.Unlock()
	return c.set(c.pushed, repo+"@"+b.digest, b.digest, upload)
}

// hasBlob asks by HEAD, and holds the answer against the ledger.
func (c *Client) hasBlob(ctx context.Context, repo, digest string) (bool, error) {
	start := time.Now()
	has, err := c.oci.HasBlob(ctx, repo, digest)
	if err != nil {
		return false, err
	}
	value := ""
	if has {
		value = digest
	}
	return has, c.pushed.Check(repo+"@"+digest, value, start, time.Now())
}

// pull reads a tag and all that it references.
func (c *Client) pull(ctx context.Context, repo, tag string) error {
	start := time.Now()
	got, ok, err := c.oci.Manifest(ctx, repo, tag)
	if err != nil {
		return err
	}
	if !ok {
		return c.byTag.Check(repo+":"+tag, "", start, time.Now())
	}
	m := contentOf(got)
	if err := c.byTag.Check(repo+":"+tag, m.digest, start, time.Now()); err != nil {
		return err
	}
	img, ok := c.image(m.digest)
	if !ok {
		return fmt.Errorf("%s:%s is a manifest that was never pushed: %s", repo, tag, got)
	}
	return c.readAll(ctx, repo, img)
}

func (c *Client) readAll(ctx context.Context, repo string, img image) error {
	for _, b := range img.blobs {
		got, ok, err := c.oci.Blob(ctx, repo, b.digest)
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

func (c *Client) deleteTag(ctx context.Context, repo, tag string) error {
	return c.set(c.byTag, repo+":"+tag, "", func() error {
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
	img := newImage(fmt.Sprintf("own %d", serial), []content{c.blobs[c.rng.IntN(len(c.blobs))], own})
	key := repo + "@" + img.manifest.digest
	if err := c.pushBlobs(ctx, repo, img.blobs); err != nil {
		return err
	}
	err := c.set(c.byImage, key, img.manifest.digest, func() error {
		return c.oci.PutManifest(ctx, repo, img.manifest.digest, img.manifest.bytes)
	})
	if err != nil {
		return err
	}
	if c.rng.IntN(3) > 0 {
		return c.set(c.byImage, key, "", func() error {
			_, err := c.oci.DeleteManifest(ctx, repo, img.manifest.digest)
			return err
		})
	}
	return c.readAll(ctx, repo, img)
}

// Push uploads a small blob that nothing else has, in one request.
func (c *Client) Push(ctx context.Context) error {
	repo, b := repoName(c.rng.IntN(repositories)), noise(c.rng, 2+c.rng.IntN(4<<10))
	return c.pushBlob(repo, b, func() error { return c.oci.PostBlob(ctx, repo, b.digest, b.bytes) })
}
