package clusterrun

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/dice"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/tools/internal/ociclient"
)

// chunk is the step of the offsets at which uploads are cut, and what another
// node is sent to show that it continues.
const chunk = 64 << 10

// partSize is that of the parts in which a blob travels to S3.
const partSize = 16 << 20

// continuesWithin is how soon an upload that was cut on one node continues at
// another.
const continuesWithin = time.Second

// TestR2_UploadContinuesOnAnotherNode kills a node within the bodies of uploads,
// and sends the next bytes to another one.
func TestR2_UploadContinuesOnAnotherNode(t *testing.T) {
	cuts := dice.Count(t, 6, 300)
	c := newCluster(t, whole)
	var slowest time.Duration
	for i := range cuts {
		victim, next := c.nodes[i%len(c.nodes)], c.nodes[(i+1)%len(c.nodes)]
		u := c.openUpload("kill/cut", c.uploadSize(i))
		c.must(u.proceed(t.Context(), c.only(victim), (1+c.rng.IntN(2))*chunk))
		body := u.stall(c.only(victim), c.rng.IntN(len(u.bytes)-u.offset))
		c.must(victim.Kill())
		began := time.Now()
		c.must(u.proceed(t.Context(), c.only(next), chunk))
		took := time.Since(began)
		if slowest = max(slowest, took); took > continuesWithin {
			t.Errorf("upload %d continued after %v", i, took)
		}
		if answer := body.rest(); answer.err == nil {
			t.Errorf("a node that was killed answered %d", answer.status)
		}
		c.must(u.finish(t.Context(), c.only(next)))
		c.charged += int64(len(u.bytes))
		c.must(victim.Start(t.Context()))
		c.must(u.read(t.Context(), c.oci(c.edge)))
	}
	t.Logf("the next bytes were acknowledged after %v at most", slowest)
	c.verify()
}

// TestR12_HolderOfUploadsPaused stops the process that holds uploads, in their
// middle; other nodes end them; then it continues.
func TestR12_HolderOfUploadsPaused(t *testing.T) {
	// Longer than a transaction may lie idle (5 s) and locks are waited for (2 s).
	pause := time.Duration(dice.Count(t, 7, 60)) * time.Second
	c := newCluster(t, whole)
	l := c.begin(4)
	holder := c.nodes[0]
	var uploads []*upload
	var bodies []*stalled
	for i := range 12 {
		u := c.openUpload("kill/paused", c.uploadSize(i))
		if i%2 == 0 { // something is acknowledged already
			c.must(u.proceed(t.Context(), c.only(holder), (1+c.rng.IntN(3))*chunk))
		}
		part := c.rng.IntN(len(u.bytes) - u.offset)
		uploads = append(uploads, u)
		if i%4 == 0 {
			bodies = append(bodies, u.stallClose(c.only(holder), part))
		} else {
			bodies = append(bodies, u.stall(c.only(holder), part))
		}
	}
	holder.away.Store(true)
	c.must(syscall.Kill(holder.PID(), syscall.SIGSTOP))
	stopped := time.Now()
	for i, u := range uploads {
		if err := u.finish(t.Context(), c.only(c.nodes[1+i%2])); err != nil {
			t.Errorf("upload %d, beside a holder that stands still: %v", i, err)
		}
	}
	l.lull(pause - time.Since(stopped))
	c.must(syscall.Kill(holder.PID(), syscall.SIGCONT))
	answers := map[int]int{}
	for i, body := range bodies {
		answer := body.rest()
		answers[answer.status]++ // 0 is none
		if answer.status == http.StatusAccepted {
			t.Errorf("upload %d: the holder of old took bytes", i)
		}
	}
	t.Logf("the holder answered, by status: %v", answers)
	holder.away.Store(false)
	l.end()
	for _, u := range uploads {
		c.charged += int64(len(u.bytes))
		c.must(u.read(t.Context(), c.oci(c.edge)))
	}
	c.verify()
}

// uploadSize makes every third upload one that has a part in the store early.
func (c *cluster) uploadSize(i int) int {
	size := (4 + c.rng.IntN(48)) * chunk
	if i%3 == 0 {
		size += partSize
	}
	return size
}

// upload is an upload of a client that talks to nodes of its choice.
type upload struct {
	repo, digest string
	bytes        []byte
	location     string
	offset       int // that was acknowledged
}

func (c *cluster) openUpload(repo string, size int) *upload {
	c.t.Helper()
	u := &upload{repo: repo, bytes: make([]byte, size)}
	_, _ = rand.NewChaCha8([32]byte(fmt.Appendf(nil, "%032d", c.rng.Uint64()))).Read(u.bytes) // never fails
	u.digest = oci.DigestOf(oci.SHA256, u.bytes).String()
	var err error
	u.location, err = c.oci(c.edge).Open(c.t.Context(), repo)
	c.must(err)
	return u
}

// proceed asks where the upload is and sends the next bytes, n at most.
func (u *upload) proceed(ctx context.Context, oci *ociclient.Client, n int) error {
	held, location, err := oci.Offset(ctx, u.location)
	if err != nil {
		return err
	}
	if held < u.offset {
		return fmt.Errorf("%d bytes were acknowledged, and the session holds %d", u.offset, held)
	}
	u.location, u.offset = location, held
	if n = min(n, len(u.bytes)-held); n == 0 {
		return nil
	}
	u.location, err = oci.Patch(ctx, u.location, u.offset, u.bytes[u.offset:u.offset+n])
	u.offset += n
	return err
}

// finish sends the rest and closes the upload.
func (u *upload) finish(ctx context.Context, oci *ociclient.Client) error {
	if err := u.proceed(ctx, oci, len(u.bytes)/2); err != nil {
		return err
	}
	return oci.Close(ctx, u.location, u.digest, u.bytes[u.offset:])
}

func (u *upload) read(ctx context.Context, oci *ociclient.Client) error {
	got, ok, err := oci.Blob(ctx, u.repo, u.digest)
	if err == nil && (!ok || !bytes.Equal(got, u.bytes)) {
		return fmt.Errorf("a blob of %d bytes reads as %d, found %v", len(u.bytes), len(got), ok)
	}
	return err
}
