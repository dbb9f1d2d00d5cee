// Command cacherun pulls images through a cache that is smaller than they are, by a
// Zipf distribution. Every pull must succeed, the cache must stay within its bound, and
// it must hit nearly as often as an LRU cache of the same size. As root, the cache lies
// on a disk of its own with half the size of the images.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/berth-registry/berth/tools/internal/command"
	"github.com/berth-registry/berth/tools/internal/server"
)

type options struct {
	berth    string
	images   int
	requests int
	clients  int
	kills    int
	zipf     float64
	within   float64
	seed     uint64
}

func main() {
	var o options
	flag.StringVar(&o.berth, "berth", "bin/berth", "the server's binary")
	flag.IntVar(&o.images, "images", 1000, "images at the upstream, of 100 KiB to 1 MiB")
	flag.IntVar(&o.requests, "requests", 20_000, "images that are pulled")
	flag.IntVar(&o.clients, "clients", 4, "clients at once")
	flag.IntVar(&o.kills, "kills", 0, "how often the server is killed meanwhile, and started again")
	flag.Float64Var(&o.zipf, "zipf", 1.1, "exponent of the distribution")
	flag.Float64Var(&o.within, "within", 0.05, "how far below LRU's the hit rate may be")
	flag.Uint64Var(&o.seed, "seed", 1, "seed of the images and the pulls")
	flag.Parse()
	command.Run("cacherun", func(ctx context.Context, out io.Writer) error { return run(ctx, o, out) })
}

// What a disk is kept free of the cache, in percent and at least: the database and what
// is in flight lie there too.
const (
	besides      = 15
	leastBesides = 32 << 20
)

const seedFile = `
tenants:
  - id: acme
    registries:
      - {id: main, upstream_group: chain, anonymous_pull: true}
    upstreams:
      - {id: hub, url: %q, tag_ttl: 3600s}
    upstream_groups:
      - {id: chain, members: [{upstream: hub}]}
`

func run(ctx context.Context, o options, out io.Writer) error {
	up, err := startUpstream(o.images, o.seed)
	if err != nil {
		return err
	}
	defer up.close()
	dir, err := os.MkdirTemp("", "cacherun")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	half := up.total() / 2
	d, err := makeDisk(filepath.Join(dir, "data"), half)
	if err != nil {
		return err
	}
	defer d.close()
	seed := filepath.Join(dir, "seed.yaml")
	if err := os.WriteFile(seed, fmt.Appendf(nil, seedFile, up.url()), 0o600); err != nil {
		return err
	}
	settings := []string{"BERTH_SEED=" + seed, "BERTH_UPSTREAM_ALLOW=127.0.0.0/8"}
	bound := half
	if d.mounted {
		bound -= max(half/100*besides, leastBesides)
	}
	settings = append(settings, fmt.Sprintf("BERTH_CACHE_MAX=%d", bound))
	srv, err := server.New(o.berth, dir, settings...)
	if err != nil {
		return err
	}
	if err := srv.Start(ctx); err != nil {
		return fmt.Errorf("%w\nend of the server's log:\n%s", err, srv.LogTail())
	}
	err = play(ctx, o, srv, up, d, half, out)
	if err != nil {
		err = fmt.Errorf("%w\nend of the server's log:\n%s", err, srv.LogTail())
	}
	if err := errors.Join(err, srv.Stop()); err != nil {
		return err
	}
	if found, err := srv.Run(ctx, "fsck", "--deep"); err != nil {
		return fmt.Errorf("%w\n%s", err, found)
	}
	fmt.Fprintln(out, "ok   fsck finds nothing")
	return nil
}

// play pulls, and compares.
func play(ctx context.Context, o options, srv *server.Server, up *upstream, d *disk, half int64, out io.Writer) error {
	pulls := draw(o)
	watch := d.watch(ctx, srv.Ops)
	began := time.Now()
	killer := startKiller(ctx, srv, o.kills, len(pulls))
	failed := pullAll(ctx, o.clients, srv.Data, up, pulls, killer)
	seen := watch.end()
	if err := killer.end(); err != nil {
		return err
	}
	hits := 1 - float64(up.layersSent())/float64(len(pulls))
	best := hitRate(up, pulls, half)
	fmt.Fprintf(out, "     %d pulls of %d images (%s) in %v: %.4f hits; LRU of %s: %.4f; on the disk at most %s of %s, cached at most %s of a bound of %s, %d blobs not stored\n",
		len(pulls), o.images, humanize.IBytes(uint64(up.total())), time.Since(began).Round(time.Second), hits,
		humanize.IBytes(uint64(half)), best, humanize.IBytes(uint64(seen.used)), humanize.IBytes(uint64(seen.size)),
		humanize.IBytes(uint64(seen.cached)), humanize.IBytes(uint64(seen.bound)), seen.refused)
	switch {
	case len(failed) > 0:
		return fmt.Errorf("%d pulls failed, such as %s", len(failed), strings.Join(failed[:min(len(failed), 3)], "; "))
	case seen.over > 0:
		return fmt.Errorf("%d times the cache was over its bound, by %d bytes at most", seen.over, seen.by)
	case hits < best*(1-o.within):
		return fmt.Errorf("a hit rate of %.4f is more than %.0f %% below LRU's %.4f", hits, 100*o.within, best)
	}
	fmt.Fprintln(out, "ok   no pull failed, the cache stayed within its bound, and hit nearly as often as LRU")
	return nil
}

// draw is which images are pulled. Which of them are popular is random.
func draw(o options) []int {
	r := rand.New(rand.NewPCG(o.seed, 2))
	order := r.Perm(o.images)
	zipf := rand.NewZipf(r, o.zipf, 1, uint64(o.images-1))
	pulls := make([]int, o.requests)
	for i := range pulls {
		pulls[i] = order[zipf.Uint64()]
	}
	return pulls
}

// pullAll pulls the images in order by some clients at once, and returns what failed.
func pullAll(ctx context.Context, clients int, addr string, up *upstream, pulls []int, k *killer) []string {
	var (
		running sync.WaitGroup
		mu      sync.Mutex
		failed  []string
	)
	next := make(chan int)
	for range clients {
		c := newClient(addr)
		running.Go(func() {
			for image := range next {
				err := k.pull(ctx, c, up, image)
				k.pulled()
				if err != nil {
					mu.Lock()
					failed = append(failed, fmt.Sprintf("%s: %v", up.images[image].name, err))
					mu.Unlock()
				}
			}
		})
	}
	for _, image := range pulls {
		if ctx.Err() != nil {
			break
		}
		next <- image
	}
	close(next)
	running.Wait()
	if err := context.Cause(ctx); err != nil {
		failed = append(failed, err.Error())
	}
	return failed
}
