package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/tools/internal/ociclient"
)

// partBytes is more than the part of a multipart upload that a store may make.
const partBytes = 16<<20 + 1<<10

// uploadChunks is a session of three small chunks and a PUT, which brings the
// rest or nothing.
func uploadChunks(_ context.Context, c *client) (act, error) {
	return c.upload(c.repo(), c.noise(3000+c.rng.IntN(6000)), 1000, 2000, 3000), nil
}

// uploadParts is a session whose first chunk is more than a part; the tail is
// replaced twice.
func uploadParts(_ context.Context, c *client) (act, error) {
	return c.upload(c.repo(), c.noise(partBytes+8<<10), partBytes, partBytes+4<<10), nil
}

// upload sends content up to each cut, and ends the session. Half of the time
// nothing is left for the PUT.
func (c *client) upload(repo string, b ocitest.Content, cuts ...int64) act {
	if c.rng.IntN(2) == 0 {
		cuts = append(cuts, b.Size)
	}
	return func(ctx context.Context) error {
		return c.keepBlob(ctx, repo, b, func(*ociclient.Client) error {
			u := upload{client: c, digest: b.Digest.String(), bytes: b.Bytes}
			if err := u.open(ctx, repo); err != nil {
				return err
			}
			for _, cut := range cuts {
				if err := u.sendTo(ctx, cut); err != nil {
					return err
				}
			}
			return u.end(ctx)
		})
	}
}

// upload is a session.
type upload struct {
	*client
	digest   string
	bytes    []byte
	location string // without the node
	offset   int64  // that was acknowledged
}

func (u *upload) open(ctx context.Context, repo string) error {
	return u.try(ctx, func(oci *ociclient.Client) error {
		location, err := oci.Open(ctx, repo)
		u.location = strings.TrimPrefix(location, oci.Base)
		return err
	})
}

// sendTo sends the bytes up to a cut.
func (u *upload) sendTo(ctx context.Context, cut int64) error {
	return u.persist(ctx, cut, func(oci *ociclient.Client) error {
		if u.offset >= cut {
			return nil
		}
		location, err := oci.Patch(ctx, u.location, int(u.offset), u.bytes[u.offset:cut])
		if err == nil {
			u.location, u.offset = strings.TrimPrefix(location, oci.Base), cut
		}
		return err
	})
}

// end sends the rest and closes the session. A session that has ended answers a
// repeated PUT as it did the first time (R8).
func (u *upload) end(ctx context.Context) error {
	return u.persist(ctx, int64(len(u.bytes)), func(oci *ociclient.Client) error {
		return oci.Close(ctx, u.location, u.digest, u.bytes[u.offset:])
	})
}

// persist is try for requests that cannot just be repeated: after each lost
// answer it asks how far the session is (R2 to R4).
func (u *upload) persist(ctx context.Context, sent int64, ask func(*ociclient.Client) error) error {
	for range maxTries {
		err := ask(u.oci)
		if !ociclient.IsLost(err) {
			return err
		}
		if err := errors.Join(u.goOn(ctx, err), u.resume(ctx, sent)); err != nil {
			return err
		}
	}
	return fmt.Errorf("the upload found no end in %d tries", maxTries)
}

// resume asks how far the session is: no less than was acknowledged, and no more
// than was sent.
func (u *upload) resume(ctx context.Context, sent int64) error {
	return u.try(ctx, func(oci *ociclient.Client) error {
		held, location, err := oci.Offset(ctx, u.location)
		switch {
		case ociclient.StatusOf(err) == http.StatusNotFound && sent == int64(len(u.bytes)):
			u.offset = sent // the PUT may have ended it
			return nil
		case err != nil:
			return err
		case int64(held) < u.offset || int64(held) > sent:
			return fmt.Errorf("the session holds %d bytes, of %d that were acknowledged and %d that were sent", held, u.offset, sent)
		}
		u.location, u.offset = strings.TrimPrefix(location, oci.Base), int64(held)
		return nil
	})
}

// cancel ends a session that holds bytes; it is gone then.
func cancel(ctx context.Context, c *client) (act, error) {
	u := upload{client: c, bytes: c.small().Bytes}
	if err := u.open(ctx, c.repo()); err != nil {
		return nil, err
	}
	if err := u.sendTo(ctx, int64(len(u.bytes))); err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		err := c.try(ctx, func(oci *ociclient.Client) error {
			_, err := oci.Cancel(ctx, u.location)
			return err
		})
		if err != nil {
			return err
		}
		return c.try(ctx, func(oci *ociclient.Client) error {
			held, _, err := oci.Offset(ctx, u.location)
			if ociclient.StatusOf(err) == http.StatusNotFound {
				return nil
			}
			return errors.Join(err, fmt.Errorf("a session that was cancelled holds %d bytes", held))
		})
	}, nil
}
