package pulls

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

const (
	maxPulls  = 65536 // that are gathered; where there are more, the accounting begins again
	batchSize = 1000
	lastFlush = 10 * time.Second
)

// Recorder records pulls of hosted content. A nil one records none. Safe for concurrent
// use.
type Recorder struct {
	store meta.HostedPulls
	log   *slog.Logger
	id    uuid.UUID
	pulls *Gathered[pulled, meta.HostedPull]
	lost  atomic.Bool // some were not gathered

	flushing sync.Mutex
	number   int64 // of the last batch
}

type pulled struct {
	repo   meta.Repo
	digest oci.Digest
	tag    string
}

// NewRecorder makes the recorder of this process. It must have begun before the process
// answers a pull.
func NewRecorder(s meta.HostedPulls, log *slog.Logger) *Recorder {
	return &Recorder{store: s, log: log, id: uuid.New(), pulls: Gather[pulled](maxPulls, func(before, now meta.HostedPull) meta.HostedPull {
		now.Times += before.Times
		return now
	})}
}

// Begin tells the store that this process will answer pulls.
func (r *Recorder) Begin(ctx context.Context) error { return r.store.BeginPulls(ctx, r.id) }

// Add records that a repository answered a pull of the reference with d.
func (r *Recorder) Add(repo meta.Repo, ref oci.Reference, d oci.Digest) {
	if r == nil {
		return
	}
	if !r.pulls.Add(pulled{repo, d, ref.Tag}, meta.HostedPull{Repo: repo, Digest: d, Tag: ref.Tag, Times: 1}) {
		r.lost.Store(true)
	}
}

// Flush writes what was gathered; what cannot be written is written with the next one.
func (r *Recorder) Flush(ctx context.Context) error {
	r.flushing.Lock()
	defer r.flushing.Unlock()
	lost := r.lost.Swap(false)
	all, err := r.pulls.Flush(ctx, batchSize, func(ctx context.Context, batch []meta.HostedPull, last bool) error {
		r.number++
		return r.store.RecordHostedPulls(ctx, meta.PullBatch{Recorder: r.id, Number: r.number, Pulls: batch, Whole: last, Lost: lost && last})
	})
	if !all || err != nil && lost {
		r.lost.Store(true)
	}
	return err
}

// Run flushes until ctx ends, and then once more. By then no pull is answered.
func (r *Recorder) Run(ctx context.Context) {
	tick := time.NewTicker(meta.PullFlush)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := r.Flush(ctx); err != nil {
				r.log.WarnContext(ctx, "pulls were not recorded; it is tried again", "error", err)
			}
		case <-ctx.Done():
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastFlush)
			defer cancel()
			err := r.Flush(ctx)
			if err == nil && !r.lost.Load() {
				err = r.store.EndPulls(ctx, r.id)
			}
			if err != nil {
				r.log.WarnContext(ctx, "the last pulls were not recorded; rules about pulls keep what could have been pulled", "error", err)
			}
			return
		}
	}
}
