package pulls

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"testing"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// kept keeps what is recorded, and fails as often as it is told to.
type kept struct {
	meta.HostedPulls
	batches []meta.PullBatch
	fail    int
	ended   bool
}

func (k *kept) RecordHostedPulls(_ context.Context, b meta.PullBatch) error {
	if k.fail--; k.fail >= 0 {
		return errors.New("out")
	}
	k.batches = append(k.batches, b)
	return nil
}

func (k *kept) EndPulls(context.Context, uuid.UUID) error {
	k.ended = true
	return nil
}

func digestOf(text string) oci.Digest { return oci.DigestOf(oci.SHA256, []byte(text)) }

func TestW116_PullsAreWrittenTogether(t *testing.T) {
	store := &kept{fail: 1}
	r := NewRecorder(store, slog.New(slog.DiscardHandler))
	repo, d := meta.Repo{Tenant: 7, Registry: 3, Name: "app"}, digestOf("a")
	for range 1000 {
		r.Add(repo, oci.Reference{Tag: "v1"}, d)
	}
	if err := r.Flush(t.Context()); err == nil {
		t.Error("a store that is out is not an error")
	}
	r.Add(repo, oci.Reference{Tag: "v1"}, d)
	if err := r.Flush(t.Context()); err != nil {
		t.Error(err)
	}
	want := meta.HostedPull{Repo: repo, Digest: d, Tag: "v1", Times: 1001}
	if len(store.batches) != 1 || len(store.batches[0].Pulls) != 1 || store.batches[0].Pulls[0] != want || !store.batches[0].Whole || store.batches[0].Lost {
		t.Errorf("recorded %+v", store.batches)
	}
	if err := r.Flush(t.Context()); err != nil || len(store.batches) != 2 || store.batches[1].Number <= store.batches[0].Number {
		t.Errorf("%v: recorded %+v: what is known grows also without pulls", err, store.batches)
	}
	(*Recorder)(nil).Add(repo, oci.Reference{Tag: "v1"}, d)
}

func TestW116_PullsTakeBoundedMemory(t *testing.T) {
	store := &kept{}
	r := NewRecorder(store, slog.New(slog.DiscardHandler))
	for i := range maxPulls + 10 {
		r.Add(meta.Repo{Name: strconv.Itoa(i)}, oci.Reference{}, digestOf("a"))
	}
	if err := r.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	pulls := 0
	for i, b := range store.batches {
		last := i == len(store.batches)-1
		if pulls += len(b.Pulls); len(b.Pulls) > batchSize || b.Whole != last || b.Lost != last {
			t.Errorf("batch %d of %d: %d pulls, whole: %t, lost: %t", i, len(store.batches), len(b.Pulls), b.Whole, b.Lost)
		}
	}
	if pulls != maxPulls {
		t.Errorf("%d pulls are written", pulls)
	}
}

func TestW116_AProcessEndsWithItsLastBatch(t *testing.T) {
	for _, fail := range []int{0, 1} {
		store := &kept{fail: fail}
		r := NewRecorder(store, slog.New(slog.DiscardHandler))
		r.Add(meta.Repo{Name: "app"}, oci.Reference{}, digestOf("a"))
		ctx, stop := context.WithCancel(t.Context())
		stop()
		r.Run(ctx)
		if wrote := len(store.batches) == 1; store.ended != (fail == 0) || wrote != (fail == 0) {
			t.Errorf("with %d failures it ended: %t, wrote: %t", fail, store.ended, wrote)
		}
	}
}
