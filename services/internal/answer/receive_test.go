package answer

import (
	"bytes"
	"io"
	"testing"

	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

// Four tenants each announce 8 manifests of 4 MiB and send little of them; a
// fifth sends whole ones.
func TestS51_AnnouncedIsNotHeld(t *testing.T) {
	tr := NewTransit()
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
