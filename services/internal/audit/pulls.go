package audit

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"
)

// Bounds of the pulls of a process that wait for the sink.
const (
	maxPulls     = 8192
	pullsAtOnce  = 500
	pullAttempts = 4
	lastPulls    = 5 * time.Second // at a stop
)

// Pulls tells a sink of pulls, which are in no database. It never keeps a pull waiting:
// what the sink does not take in time is dropped and counted. A nil one drops nothing
// and tells nothing. Safe for concurrent use.
type Pulls struct {
	sink    Sink
	log     *slog.Logger
	queue   chan Record
	dropped atomic.Int64
}

// NewPulls makes one; Run sends.
func NewPulls(sink Sink, log *slog.Logger) *Pulls {
	return &Pulls{sink: sink, log: log, queue: make(chan Record, maxPulls)}
}

// Add tells of a pull.
func (p *Pulls) Add(r Record) {
	if p == nil {
		return
	}
	select {
	case p.queue <- r:
	default:
		p.dropped.Add(1)
	}
}

// Dropped is how many pulls the sink was not told of.
func (p *Pulls) Dropped() int64 { return p.dropped.Load() }

// Run sends until ctx ends, and then what is left.
func (p *Pulls) Run(ctx context.Context) {
	said := int64(0)
	for {
		batch := p.next(ctx)
		if len(batch) > 0 {
			p.send(ctx, batch)
		}
		if dropped := p.Dropped(); dropped > said {
			p.log.WarnContext(ctx, "pulls are missing from the audit sink, which does not take them fast enough", "pulls", dropped-said)
			said = dropped
		}
		if ctx.Err() != nil && len(batch) == 0 {
			return
		}
	}
}

// next waits for pulls, and takes those of a second.
func (p *Pulls) next(ctx context.Context) []Record {
	var batch []Record
	select {
	case r := <-p.queue:
		batch = append(batch, r)
	case <-ctx.Done():
	}
	late := time.After(pollEvery)
	for len(batch) < pullsAtOnce {
		if ctx.Err() != nil { // what is there already
			select {
			case r := <-p.queue:
				batch = append(batch, r)
				continue
			default:
				return batch
			}
		}
		select {
		case r := <-p.queue:
			batch = append(batch, r)
		case <-late:
			return batch
		case <-ctx.Done():
		}
	}
	return batch
}

// send tries a few times; meanwhile others wait in the queue, or are dropped. What the sink
// refuses is sent in halves, and dropped if it is one pull.
func (p *Pulls) send(ctx context.Context, batch []Record) {
	lines, n, err := encoded(batch, func(r Record) Record { return r })
	if n < len(batch) && err == nil {
		p.send(ctx, batch[:n])
		p.send(ctx, batch[n:])
		return
	}
	for attempt := 0; err == nil && attempt < pullAttempts; attempt++ {
		failed := p.write(ctx, lines)
		if failed == nil {
			return
		}
		if errors.Is(failed, errRefused) {
			if n > 1 {
				p.send(ctx, batch[:n/2])
				p.send(ctx, batch[n/2:])
				return
			}
			break
		}
		select {
		case <-ctx.Done():
			attempt = max(attempt, pullAttempts-2) // one more
		case <-time.After(pollEvery << attempt):
		}
	}
	p.dropped.Add(int64(len(batch)))
}

// write ends in time also at a stop.
func (p *Pulls) write(ctx context.Context, lines []byte) error {
	if ctx.Err() != nil {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastPulls)
		defer cancel()
		ctx = last
	}
	return p.sink.Write(ctx, lines)
}
