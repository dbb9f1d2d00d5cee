package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/pkg/pause"
	"github.com/berth-registry/berth/tools/internal/ociclient"
)

const (
	slowTenants = 4
	slowOfEach  = 8
	slowLength  = 4<<20 - 1
	slowRate    = 1300     // bytes per second
	slowLarge   = 64 << 10 // a manifest of the fifth tenant, which is counted
)

// slowputs lets four tenants each send eight manifests that they announce with 4 MiB,
// very slowly, while a fifth one pushes and pulls large manifests.
func slowputs(ctx context.Context, o options, dir string, out io.Writer) (err error) {
	t, err := startTown(ctx, o, dir, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Stop()) }()
	var slow []*ociclient.Client
	for i := range slowTenants {
		c, err := t.resident(ctx, fmt.Sprintf("slow%d", i), "", "")
		if err != nil {
			return err
		}
		slow = append(slow, c)
	}
	fifth, err := t.resident(ctx, "fifth", "", "")
	if err != nil {
		return err
	}
	config := ocitest.Empty()
	if err := fifth.PostBlob(ctx, "app", config.Digest.String(), config.Bytes); err != nil {
		return err
	}

	length := 5 * time.Second
	if o.full {
		length = 30 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, length)
	defer cancel()
	var began, ended atomic.Int64
	var crowd sync.WaitGroup
	for i := range slowTenants * slowOfEach {
		crowd.Go(func() {
			for ctx.Err() == nil { // one that is refused comes again
				status := slowPut(ctx, slow[i%slowTenants], &began)
				if status != 0 {
					ended.Add(1)
				}
				_ = pause.For(ctx, 100*time.Millisecond)
			}
		})
	}
	first := await.Within(ctx, length, "every slow body has begun", func() bool { return began.Load() >= slowTenants*slowOfEach })
	var pushes, pulls latencies
	refused := 0
	for i := 0; ctx.Err() == nil; i++ {
		m := ocitest.Extra{Annotations: map[string]string{"number": strconv.Itoa(i), "fill": strings.Repeat("x", slowLarge)}}.Manifest(config)
		at := time.Now()
		err := fifth.PutManifest(context.WithoutCancel(ctx), "app", "v1", m.Bytes)
		pushes.add(at)
		if err == nil {
			at = time.Now()
			_, _, err = fifth.Manifest(context.WithoutCancel(ctx), "app", "v1")
			pulls.add(at)
		}
		if err != nil {
			refused++
			if first == nil {
				first = err
			}
		}
	}
	crowd.Wait()
	fmt.Fprintf(out, "  %d slow bodies, %d of which were answered; beside them pushes: %s; pulls: %s; %d refused\n",
		began.Load(), ended.Load(), &pushes, &pulls, refused)
	if refused > 0 {
		first = fmt.Errorf("%d manifests of the fifth tenant were refused: %w", refused, first)
	}
	return judge(o, out, first)
}

// slowPut sends one slow body, and returns the status of an answer; 0 of none.
func slowPut(ctx context.Context, c *ociclient.Client, began *atomic.Int64) int {
	r, err := http.NewRequestWithContext(ctx, http.MethodPut, c.Base+"/v2/app/manifests/v1", &trickle{ctx: ctx, began: began})
	if err != nil {
		return 0
	}
	r.Host, r.ContentLength = c.Host, slowLength
	r.Header.Set("Content-Type", oci.MediaTypeImageManifest)
	r.SetBasicAuth(c.User, c.Secret)
	res, err := c.HTTP.Do(r)
	if err != nil {
		return 0
	}
	defer res.Body.Close()
	return res.StatusCode
}

// trickle is a body that comes at slowRate, in ten pieces a second.
type trickle struct {
	ctx   context.Context //nolint:containedctx // of the request that it is the body of
	began *atomic.Int64
	sent  int
}

func (b *trickle) Read(p []byte) (int, error) {
	if b.sent > 0 {
		_ = pause.For(b.ctx, time.Second/10)
	}
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	if b.sent == 0 {
		b.began.Add(1)
	}
	n := copy(p, bytes.Repeat([]byte{' '}, slowRate/10))
	b.sent += n
	return n, nil
}
