// Command memrun watches what transfers cost the server: many uploads and
// downloads at once must stay under a limit of resident memory, slow clients
// must not stop others, and blobs must go out of files by sendfile, which
// strace shows.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/tools/internal/command"
	"github.com/berth-registry/berth/tools/internal/ociclient"
	"github.com/berth-registry/berth/tools/internal/server"
)

type options struct {
	berth   string
	s3      string
	uploads int
	slow    int
	mib     int64
	limit   int64
	seed    uint64
}

func main() {
	var o options
	flag.StringVar(&o.berth, "berth", "bin/berth", "the server's binary")
	flag.StringVar(&o.s3, "s3", "", "keep blobs in S3, not in files: in versitygw, or nowhere (discard), which allows uploads only")
	flag.IntVar(&o.uploads, "uploads", 50, "uploads at once")
	flag.IntVar(&o.slow, "slow", 0, "uploads besides whose clients are slow")
	flag.Int64Var(&o.mib, "mib", 64, "size of each upload in MiB")
	flag.Int64Var(&o.limit, "limit", 128, "resident memory the server may reach, in MiB")
	flag.Uint64Var(&o.seed, "seed", 1, "seed of the content")
	flag.Parse()
	command.Run("memrun", func(ctx context.Context, out io.Writer) error { return run(ctx, o, out) })
}

func run(ctx context.Context, o options, out io.Writer) error {
	dir, err := os.MkdirTemp(disk(o.s3), "memrun")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	temporary, err := os.MkdirTemp("", "memrun")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temporary)
	settings := []string{"TMPDIR=" + temporary}
	if o.s3 != "" {
		blobs, stop, err := startS3(o.s3)
		defer stop()
		if err != nil {
			return err
		}
		settings = append(settings, "BERTH_BLOBS="+blobs)
	}
	srv, err := server.New(o.berth, dir, settings...)
	if err != nil {
		return err
	}
	if err := srv.Start(ctx); err != nil {
		return err
	}
	client := &ociclient.Client{
		Base: "http://" + srv.Data,
		HTTP: &http.Client{Transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: o.uploads}},
	}
	digests, err := transfers(ctx, srv, client, o, out)
	if err != nil {
		return fmt.Errorf("%w\nend of the server's log:\n%s", err, srv.LogTail())
	}
	if o.s3 != "" {
		return srv.Stop()
	}

	sent, err := sentBySendfile(ctx, srv.PID(), func() error { return download(ctx, client, digests[0]) })
	if err != nil {
		return err
	}
	if sent < o.mib<<20/100*99 { // net/http may write the first bytes along with the header
		return fmt.Errorf("of a blob of %d bytes %d went out by sendfile", o.mib<<20, sent)
	}
	fmt.Fprintf(out, "ok   a blob of %d MiB goes out by sendfile\n", o.mib)
	return srv.Stop()
}

// disk is where the server keeps its data directory: beside a bucket on this very
// disk in memory, if it can be. Otherwise a commit of the metadata would wait until
// the disk has taken the bucket's gigabytes, for half a minute, which no S3 server
// elsewhere does.
func disk(s3 string) string {
	const inMemory = "/dev/shm"
	if _, err := os.Stat(inMemory); s3 == "" || err != nil {
		return os.TempDir()
	}
	return inMemory
}

// transfers uploads and downloads and returns the digests of what it uploaded.
func transfers(ctx context.Context, srv *server.Server, client *ociclient.Client, o options, out io.Writer) ([]string, error) {
	idle, err := srv.PeakMemory()
	if err != nil {
		return nil, err
	}
	started := time.Now()
	slow, err := startSlow(ctx, o.slow, client, o.seed)
	if err != nil {
		return nil, err
	}
	if o.slow > 0 {
		if err := report(srv, o, out, fmt.Sprintf("%d uploads that nearly stop after %d MiB", o.slow, slowStart>>20), idle, started); err != nil {
			return nil, err
		}
	}

	started = time.Now()
	digests := make([]string, o.uploads)
	err = together(o.uploads, func(i int) error {
		digest, err := upload(ctx, client, o.mib<<20, noise(o.seed, uint64(i)))
		digests[i] = digest
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := report(srv, o, out, fmt.Sprintf("%d uploads of %d MiB at once", o.uploads, o.mib), idle, started); err != nil {
		return nil, err
	}
	if err := slow.end(); err != nil {
		return nil, err
	}

	if o.s3 == discard {
		return digests, nil
	}
	started = time.Now()
	if err := together(o.uploads, func(i int) error { return download(ctx, client, digests[i]) }); err != nil {
		return nil, err
	}
	return digests, report(srv, o, out, fmt.Sprintf("%d downloads of them at once", o.uploads), idle, started)
}

// report holds the server's peak against the limit.
func report(srv *server.Server, o options, out io.Writer, what string, idle int64, started time.Time) error {
	peak, err := srv.PeakMemory()
	if err != nil {
		return err
	}
	if peak > o.limit<<20 {
		return fmt.Errorf("%s: %d MiB resident, more than %d", what, peak>>20, o.limit)
	}
	fmt.Fprintf(out, "ok   %s: %d MiB resident at most (%d MiB idle) in %v\n", what, peak>>20, idle>>20, time.Since(started).Round(100*time.Millisecond))
	return nil
}

// together runs f n times at once and joins what goes wrong.
func together(n int, f func(int) error) error {
	var running sync.WaitGroup
	errs := make([]error, n)
	for i := range n {
		running.Go(func() { errs[i] = f(i) })
	}
	running.Wait()
	return errors.Join(errs...)
}

// upload streams random bytes in one PATCH and returns their digest.
func upload(ctx context.Context, client *ociclient.Client, size int64, content io.Reader) (string, error) {
	location, err := client.Open(ctx, "mem/app")
	if err != nil {
		return "", err
	}
	hash := oci.NewHasher(oci.SHA256)
	next, err := client.Stream(ctx, location, io.TeeReader(io.LimitReader(content, size), hash), size)
	if err != nil {
		return "", err
	}
	digest := hash.Digest().String()
	return digest, client.Close(ctx, next, digest, nil)
}

// download reads a blob without keeping it, and compares its digest.
func download(ctx context.Context, client *ociclient.Client, digest string) error {
	blob, err := client.OpenBlob(ctx, "mem/app", digest)
	if err != nil {
		return err
	}
	defer blob.Close()
	hash := oci.NewHasher(oci.SHA256)
	if _, err := io.Copy(hash, blob); err != nil {
		return err
	}
	if got := hash.Digest().String(); got != digest {
		return fmt.Errorf("%s came, not %s", got, digest)
	}
	return nil
}
