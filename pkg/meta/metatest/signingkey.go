package metatest

import (
	"reflect"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/access"
)

func testSigningKeys(t *testing.T, open Open) {
	t.Run("the first of an id wins", func(t *testing.T) {
		w := newWorld(t, open)
		first := access.SigningKey{ID: "b", Algorithm: access.EdDSA, Private: []byte{1, 2}, CreatedAt: w.Now()}
		kept, err := w.Store.PutSigningKey(t.Context(), first)
		if err != nil || !reflect.DeepEqual(kept, first) {
			t.Errorf("kept %+v, %v", kept, err)
		}
		second := first
		second.Private = []byte{3}
		if kept, err = w.Store.PutSigningKey(t.Context(), second); err != nil || !reflect.DeepEqual(kept, first) {
			t.Errorf("kept %+v, %v; want the first", kept, err)
		}
		retired := access.SigningKey{ID: "a", Algorithm: access.EdDSA, Private: []byte{4}, CreatedAt: w.Now(), RetiredAt: w.Now().Add(time.Second)}
		_, err = w.Store.PutSigningKey(t.Context(), retired)
		w.must(err)
		keys, err := w.Store.ListSigningKeys(t.Context())
		if err != nil || !reflect.DeepEqual(keys, []access.SigningKey{retired, first}) {
			t.Errorf("keys %+v, %v", keys, err)
		}
	})
}
