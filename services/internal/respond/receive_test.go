package respond

import (
	"bytes"
	"io"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/faketime"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

// Four tenants each announce 8 manifests of 4 MiB and send little of them; a
// fifth sends whole ones.
func TestS51_AnnouncedIsNotHeld(t *testing.T) {
	tr := NewByteBudget()
	for i := range 32 {
		r, w := io.Pipe()
		defer w.Close()
		go func() {
			_, leave, err := tr.Receive(t.Context(), tenant.ID(1+i%4), r, oci.MaxManifest-1)
			if err == nil {
				leave()
			}
		}()
		if _, err := w.Write(make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	if n := tr.gate.Used(); n != 0 {
		t.Errorf("%d bytes are held by bodies that sent 1,000 each", n)
	}
	body := bytes.Repeat([]byte("x"), 1<<20)
	payload, leave, err := tr.Receive(t.Context(), 5, bytes.NewReader(body), int64(len(body)))
	if err != nil || !bytes.Equal(payload, body) {
		t.Fatalf("the fifth tenant: %d bytes, %v", len(payload), err)
	}
	leave()
	if n := tr.gate.Used(); n != 0 {
		t.Errorf("%d bytes are held in the end", n)
	}
}

// A body that comes by a few bytes is never silent, and ends soon anyway.
func TestS51_SlowBodyEnds(t *testing.T) {
	for _, announced := range []int64{100_000, oci.MaxManifest - 1, -1} {
		faketime.Test(t, func(t *testing.T) {
			tr := NewByteBudget()
			began := time.Now()
			_, _, err := tr.Receive(t.Context(), 1, trickle{}, announced)
			if fault.KindOf(err) != fault.TooSlow {
				t.Errorf("of %d bytes: %v", announced, err)
			}
			if took := time.Since(began); took > 30*time.Second {
				t.Errorf("of %d bytes, it ended after %s", announced, took)
			}
			if n := tr.gate.Used(); n != 0 {
				t.Errorf("%d bytes stay held", n)
			}
		})
	}
}

// trickle sends 1.2 kB/s.
type trickle struct{}

func (trickle) Read(p []byte) (int, error) {
	<-time.After(5 * time.Millisecond) // of the test's own clock
	return min(6, len(p)), nil
}
