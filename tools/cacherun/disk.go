package main

import (
	"bufio"
	"context"
	"fmt"
	"io/fs"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// disk is the data directory of the server.
type disk struct {
	dir     string
	mounted bool // it is a disk of its own
}

// makeDisk makes a disk of a size. Without the right to mount it is a directory.
func makeDisk(dir string, size int64) (*disk, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, err
	}
	err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size))
	return &disk{dir: dir, mounted: err == nil}, nil
}

func (d *disk) close() {
	if d.mounted {
		_ = unix.Unmount(d.dir, unix.MNT_DETACH) // the run is over
	}
}

// seen is the most that was seen while images were pulled, in bytes.
type seen struct {
	used, size    int64 // of the disk; size is that of the bound where it is none of its own
	cached, bound int64 // files of the blob store; bound is the smallest at that time
	over          int   // times that the files were over the bound
	by            int64
	refused       int64 // blobs that the server did not store
}

// watcher measures the disk until its end.
type watcher struct {
	disk   *disk
	ops    string
	stop   context.CancelFunc
	result chan seen
}

const look = 100 * time.Millisecond

func (d *disk) watch(ctx context.Context, ops string) *watcher {
	ctx, stop := context.WithCancel(ctx)
	w := &watcher{disk: d, ops: ops, stop: stop, result: make(chan seen, 1)}
	go func() {
		s := seen{bound: math.MaxInt64}
		tick := time.NewTicker(look)
		defer tick.Stop()
		for {
			w.look(ctx, &s)
			select {
			case <-ctx.Done():
				w.result <- s
				return
			case <-tick.C:
			}
		}
	}()
	return w
}

func (w *watcher) end() seen {
	w.stop()
	return <-w.result
}

// look measures once. A measurement that fails is left out.
func (w *watcher) look(ctx context.Context, s *seen) {
	metrics, err := w.metrics(ctx)
	if err != nil {
		return
	}
	bound := int64(metrics["berth_cache_bound_bytes"])
	files := w.disk.files()
	s.cached, s.bound = max(s.cached, files), min(s.bound, bound)
	if files > bound {
		s.over++
		s.by = max(s.by, files-bound)
	}
	s.refused = int64(metrics["berth_cache_refused_total"])
	var st unix.Statfs_t
	if w.disk.mounted && unix.Statfs(w.disk.dir, &st) == nil {
		s.size = int64(st.Blocks) * st.Bsize
		s.used = max(s.used, s.size-int64(st.Bfree)*st.Bsize)
		return
	}
	s.used, s.size = s.cached, bound
}

// files is the size of all files of the blob store.
func (d *disk) files() int64 {
	var all int64
	_ = filepath.WalkDir(filepath.Join(d.dir, "blobs"), func(_ string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			if info, err := e.Info(); err == nil { // else it was deleted
				all += info.Size()
			}
		}
		return nil
	})
	return all
}

// metrics are the metrics of the server without labels.
func (w *watcher) metrics(ctx context.Context) (map[string]float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+w.ops+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	found := map[string]float64{}
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		if v, err := strconv.ParseFloat(value, 64); err == nil {
			found[name] = v
		}
	}
	return found, lines.Err()
}
