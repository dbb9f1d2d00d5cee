package metatest

import (
	"testing"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// testBounds tests what a tenant may have staged.
func testBounds(t *testing.T, open Open) {
	bounded := func(t *testing.T, o Options) (world, meta.Repo) {
		w := newWorldWith(t, open, o)
		return w, w.repo("app")
	}
	t.Run("C14 staged bytes", func(t *testing.T) {
		w, r := bounded(t, Options{MaxStaged: 10})
		u, err := w.Store.CreateUpload(t.Context(), r, oci.SHA256)
		w.must(err)
		_, err = w.Store.AdvanceUpload(t.Context(), u, blob.Progress{Offset: 10})
		w.must(err)
		_, err = w.Store.CreateUpload(t.Context(), r, oci.SHA256)
		w.refused(err, fault.Denied, fault.QuotaExceeded)
		w.must(w.Store.CancelUpload(t.Context(), r, u.ID))
		_, err = w.Store.CreateUpload(t.Context(), r, oci.SHA256)
		w.must(err)
	})
	// Sessions that were made while there was room do not stage past the bound,
	// neither by a body that continues nor by another one.
	t.Run("C14 staged bytes in a session", func(t *testing.T) {
		w, r := bounded(t, Options{MaxStaged: 10})
		made, err := w.Store.CreateUpload(t.Context(), r, oci.SHA256)
		w.must(err)
		second, err := w.Store.CreateUpload(t.Context(), r, oci.SHA256)
		w.must(err)
		first, err := w.Store.AdvanceUpload(t.Context(), made, blob.Progress{Offset: 6})
		w.must(err)
		_, err = w.Store.AdvanceUpload(t.Context(), first, blob.Progress{Offset: 11}) // a body without an end
		w.refused(err, fault.Denied, fault.QuotaExceeded)
		_, err = w.Store.AdvanceUpload(t.Context(), second, blob.Progress{Offset: 5})
		w.refused(err, fault.Denied, fault.QuotaExceeded)
		if u, err := w.Store.FindUpload(t.Context(), r, first.ID); err != nil || u.Stage.Offset != 6 || u.Epoch != first.Epoch {
			t.Errorf("the refused step left %+v, %v", u, err)
		}
		_, err = w.Store.AdvanceUpload(t.Context(), first, blob.Progress{Offset: 10})
		w.must(err)
		_, err = w.Store.TakeUpload(t.Context(), r, second.ID, 0) // one more request at the bound
		w.refused(err, fault.Denied, fault.QuotaExceeded)
		if u, err := w.Store.FindUpload(t.Context(), r, second.ID); err != nil || u.Epoch != second.Epoch {
			t.Errorf("the refused request took the session over: %+v, %v", u, err)
		}
	})
	t.Run("C14 sessions", func(t *testing.T) {
		w, r := bounded(t, Options{MaxSessions: 2})
		for range 2 {
			_, err := w.Store.CreateUpload(t.Context(), r, oci.SHA256)
			w.must(err)
		}
		_, err := w.Store.CreateUpload(t.Context(), r, oci.SHA256)
		w.refused(err, fault.Denied, fault.QuotaExceeded)
	})
}
