package clusterrun

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/berth-registry/berth/pkg/dice"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/pkg/pause"
	"github.com/berth-registry/berth/tools/internal/ociclient"
	"github.com/berth-registry/berth/tools/testserver"
)

// action is what a client does with a tag.
type action struct {
	tag  string
	kind kind
	puts string // digest
}

type kind int

const (
	put kind = iota
	remove
	get
)

// outcome is what the client was told; unknown where it was told nothing.
type outcome struct {
	unknown bool
	found   bool
	digest  string
}

// tagModel is a register that holds a digest or nothing.
var tagModel = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byTag := map[string][]porcupine.Operation{}
		for _, op := range history {
			tag := op.Input.(action).tag
			byTag[tag] = append(byTag[tag], op)
		}
		var parts [][]porcupine.Operation
		for _, part := range byTag {
			parts = append(parts, part)
		}
		return parts
	},
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) {
		holds, a, o := state.(string), input.(action), output.(outcome)
		switch a.kind {
		case put:
			return true, a.puts
		case remove:
			return o.unknown || o.found == (holds != ""), ""
		default:
			return o.digest == holds, holds
		}
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v → %+v", input, output) },
}

// TestR49_TagsAreLinearizable lets clients put, delete and read a few tags at all
// nodes at once, while a node is killed and Postgres crashes. Some order of all
// that happened explains every answer.
func TestR49_TagsAreLinearizable(t *testing.T) {
	rounds := dice.Count(t, 1, 50)
	postgres := testserver.StartPostgres(t)
	c := clusterOn(t, whole, "BERTH_META="+postgres.URL())
	for round := range rounds {
		h := &history{cluster: c, client: c.oci(c.edge), since: time.Now(), repo: fmt.Sprintf("kill/tags-%d", round)}
		h.pushImages(6)
		ctx, stop := context.WithCancel(t.Context())
		var clients sync.WaitGroup
		for i := range 8 {
			rng := rand.New(rand.NewPCG(c.rng.Uint64(), uint64(i)))
			clients.Go(func() {
				for ctx.Err() == nil {
					h.act(i, rng)
				}
			})
		}
		_ = pause.For(ctx, c.between(500*time.Millisecond, 1500*time.Millisecond))
		victim := c.nodes[c.rng.IntN(len(c.nodes))]
		c.must(victim.Kill())
		_ = pause.For(ctx, c.between(200*time.Millisecond, 500*time.Millisecond))
		c.must(victim.Start(ctx))
		postgres.Restart()
		c.back()
		_ = pause.For(ctx, time.Second)
		stop()
		clients.Wait()
		h.check()
	}
	c.verify()
}

// TestTagModelRefuses what no register does.
func TestTagModelRefuses(t *testing.T) {
	op := func(call, end int64, a action, o outcome) porcupine.Operation {
		a.tag = "t"
		return porcupine.Operation{Input: a, Output: o, Call: call, Return: end}
	}
	putA := op(0, 1, action{kind: put, puts: "a"}, outcome{})
	putB := op(2, 3, action{kind: put, puts: "b"}, outcome{})
	for name, c := range map[string]struct {
		last porcupine.Operation
		ok   bool
	}{
		"a read of the last write":         {op(4, 5, action{kind: get}, outcome{digest: "b", found: true}), true},
		"a read of an overwritten one":     {op(4, 5, action{kind: get}, outcome{digest: "a", found: true}), false},
		"a read beside the last write":     {op(2, 5, action{kind: get}, outcome{digest: "a", found: true}), true},
		"a read of nothing":                {op(4, 5, action{kind: get}, outcome{}), false},
		"a delete of what is there":        {op(4, 5, action{kind: remove}, outcome{found: true}), true},
		"a delete that finds nothing":      {op(4, 5, action{kind: remove}, outcome{}), false},
		"a delete without an answer":       {op(4, math.MaxInt64, action{kind: remove}, outcome{unknown: true}), true},
		"a read of a value never put":      {op(4, 5, action{kind: get}, outcome{digest: "c", found: true}), false},
		"a put whose answer was lost":      {op(4, math.MaxInt64, action{kind: put, puts: "c"}, outcome{unknown: true}), true},
		"a read before the first write is": {op(-2, -1, action{kind: get}, outcome{}), true},
	} {
		if got := porcupine.CheckOperations(tagModel, []porcupine.Operation{putA, putB, c.last}); got != c.ok {
			t.Errorf("%s: explained %v, want %v", name, got, c.ok)
		}
	}
}

// history is what clients have seen.
type history struct {
	*cluster
	client *ociclient.Client
	since  time.Time
	repo   string
	images []ocitest.Content

	mu  sync.Mutex
	ops []porcupine.Operation
}

func (h *history) pushImages(n int) {
	h.t.Helper()
	for i := range n {
		config := ocitest.ConfigBy(fmt.Sprint(h.repo, i))
		h.must(h.client.PostBlob(h.t.Context(), h.repo, config.Digest.String(), config.Bytes))
		h.charged += config.Size
		h.images = append(h.images, ocitest.Manifest(config))
	}
}

// lostPause is how long a client waits at most after it got no answer: about what
// Retry-After says.
const lostPause = time.Second

// act does one thing and writes down what came of it.
func (h *history) act(number int, rng *rand.Rand) {
	ctx := context.WithoutCancel(h.t.Context()) // the end of the run cuts no request
	a := action{tag: fmt.Sprint("t", rng.IntN(3)), kind: kind(rng.IntN(3))}
	call := time.Since(h.since)
	var o outcome
	var err error
	switch a.kind {
	case put:
		image := h.images[rng.IntN(len(h.images))]
		a.puts = image.Digest.String()
		err = h.client.PutManifest(ctx, h.repo, a.tag, image.Bytes)
	case remove:
		o.found, err = h.client.DeleteManifest(ctx, h.repo, a.tag)
	default:
		var got []byte
		if got, o.found, err = h.client.Manifest(ctx, h.repo, a.tag); o.found {
			o.digest = oci.DigestOf(oci.SHA256, got).String()
		}
	}
	end := int64(time.Since(h.since))
	if ociclient.IsLost(err) {
		_ = pause.Between(ctx, lostPause/2, lostPause) // each unknown outcome doubles the orders to look at
		if a.kind == get {
			return // it changed nothing, and told nothing
		}
		o.unknown, end = true, math.MaxInt64 // it may happen as late as it likes
	} else if err != nil {
		h.t.Error(err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, porcupine.Operation{ClientId: number, Input: a, Output: o, Call: int64(call), Return: end})
}

func (h *history) check() {
	h.t.Helper()
	began, unknown := time.Now(), 0
	for _, op := range h.ops {
		if op.Output.(outcome).unknown {
			unknown++
		}
	}
	result := porcupine.CheckOperationsTimeout(tagModel, h.ops, time.Minute)
	h.t.Logf("%d operations, %d of unknown outcome: %s, decided in %v", len(h.ops), unknown, result, time.Since(began).Round(time.Millisecond))
	if result != porcupine.Ok {
		h.t.Errorf("no order explains what clients saw of %s: %s", h.repo, result)
	}
	if unknown == 0 {
		h.t.Error("every outcome is known: no one noticed the kill and the crash")
	}
}
