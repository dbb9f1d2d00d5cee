package boot

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// checkTimeout bounds one readiness check.
const checkTimeout = 2 * time.Second

// Health reports whether a process can serve: each of its dependencies adds a
// check. Upstreams never do, since a process without its upstreams still serves
// stored content. The zero value is ready; it is safe for concurrent use.
type Health struct {
	mu       sync.Mutex
	checks   []*check
	draining atomic.Bool
}

type check struct {
	name     string
	optional bool
	run      func(context.Context) (string, error)

	mu      sync.Mutex
	current *checkRun // nil when none is running
}

// checkRun is one run of a check; read err only after done is closed.
type checkRun struct {
	began time.Time
	done  chan struct{}
	said  string
	err   error
}

// Add registers a check under the name of its dependency. run returns nil when the
// dependency works, and ends with its context; its error is shown to operators, so
// it must not contain secrets.
func (h *Health) Add(name string, run func(context.Context) error) {
	h.add(&check{name: name, run: undetailed(run)})
}

// AddOptional is Add for an optional dependency: its state is shown, but does not
// affect readiness.
func (h *Health) AddOptional(name string, run func(context.Context) error) {
	h.add(&check{name: name, optional: true, run: undetailed(run)})
}

// AddDetailed is AddOptional for a check with a message.
func (h *Health) AddDetailed(name string, run func(context.Context) (string, error)) {
	h.add(&check{name: name, optional: true, run: run})
}

// AddExplained is Add for a check with a message.
func (h *Health) AddExplained(name string, run func(context.Context) (string, error)) {
	h.add(&check{name: name, run: run})
}

func undetailed(run func(context.Context) error) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) { return "", run(ctx) }
}

func (h *Health) add(c *check) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.checks = append(h.checks, c)
}

// Drain makes the process unready: it is about to stop.
func (h *Health) Drain() { h.draining.Store(true) }

// Readiness is the response of /readyz.
type Readiness struct {
	Status string                `json:"status"` // ready, unready or draining
	Checks map[string]Dependency `json:"checks"` // by name
}

// Dependency is the result of one check.
type Dependency struct {
	Status    string  `json:"status"` // ok or failed
	LatencyMS float64 `json:"latency_ms"`
	Detail    string  `json:"detail,omitempty"`
	Error     string  `json:"error,omitempty"`
}

// Ready runs all checks at once, each for at most two seconds.
func (h *Health) Ready(ctx context.Context) Readiness {
	h.mu.Lock()
	checks := h.checks
	h.mu.Unlock()

	found := make([]Dependency, len(checks))
	var wg sync.WaitGroup
	for i, c := range checks {
		wg.Go(func() { found[i] = c.ask(ctx) })
	}
	wg.Wait()

	r := Readiness{Status: "ready", Checks: make(map[string]Dependency, len(checks))}
	for i, c := range checks {
		r.Checks[c.name] = found[i]
		if found[i].Status != "ok" && !c.optional {
			r.Status = "unready"
		}
	}
	if h.draining.Load() {
		r.Status = "draining"
	}
	return r
}

var errCheckTimeout = errors.New("no answer within " + checkTimeout.String())

// ask waits for the result of the current run, or of a new one. Concurrent probes
// share a run, so that a check that hangs does not accumulate goroutines. The run
// continues when the probe that began it leaves.
func (c *check) ask(ctx context.Context) Dependency {
	start := time.Now()
	r := c.running(ctx)
	left := time.NewTimer(checkTimeout - time.Since(r.began))
	defer left.Stop()
	var said string
	var err error
	select {
	case <-r.done:
		said, err = r.said, r.err
	case <-left.C:
		err = errCheckTimeout
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	d := Dependency{Status: "ok", Detail: said, LatencyMS: float64(time.Since(start).Microseconds()) / 1000}
	if err != nil {
		d.Status, d.Error = "failed", err.Error()
	}
	return d
}

// running is the current run, which it starts if needed.
func (c *check) running(ctx context.Context) *checkRun {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current != nil {
		return c.current
	}
	r := &checkRun{began: time.Now(), done: make(chan struct{})}
	c.current = r
	go func() {
		ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), checkTimeout, errCheckTimeout)
		defer cancel()
		r.said, r.err = c.run(ctx)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.current = nil
		close(r.done)
	}()
	return r
}

// ServeHTTP answers /readyz: 200 when every check passes and the process is
// not stopping, else 503.
func (h *Health) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer := h.Ready(r.Context())
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if answer.Status != "ready" {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	// The probe may have left.
	_ = json.NewEncoder(w).Encode(answer)
}
