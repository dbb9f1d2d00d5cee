package assemble

import (
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/berth-registry/berth/pkg/blob/fsblob"
	"github.com/berth-registry/berth/pkg/boot"
	"github.com/berth-registry/berth/pkg/identity"
	"github.com/berth-registry/berth/pkg/meta/sqlitemeta"
)

// A start that is cut off between any two of its writes leaves what the next one
// starts from, and what it has begun is not begun again.
func TestH5_AStartThatIsCutOffIsNoRestore(t *testing.T) {
	for cut, want := range []int64{1, 1, 2, 2} { // after that many writes; the generation of the next start
		s := stores{}
		var err error
		dir := t.TempDir()
		if s.meta, err = sqlitemeta.Open(t.Context(), sqlitemeta.Options{Dir: dir}); err != nil {
			t.Fatal(err)
		}
		if s.blobs, err = fsblob.Open(filepath.Join(dir, "blobs"), fsblob.Options{}); err != nil {
			t.Fatal(err)
		}
		var first identity.Identity
		for i, write := range []func() error{
			func() error {
				var err error
				first, err = s.claim(t.Context(), sides{Pair: identity.Pair{Store: identity.Identity{}}, state: identity.Empty})
				return err
			},
			func() error { _, err := s.meta.RaiseIdentity(t.Context(), 0); return err },
			func() error {
				return s.name(t.Context(), identity.Identity{Deployment: first.Deployment}, identity.Identity{Deployment: first.Deployment, Generation: 1})
			},
		} {
			if i < cut {
				if err := write(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := s.establish(t.Context(), boot.Default(), slog.New(slog.DiscardHandler)); err != nil {
			t.Errorf("after %d writes: %v", cut, err)
		}
		p, err := s.pair(t.Context())
		if err != nil || p.Database != p.Store || p.Database.Generation != want || cut > 0 && p.Database.Deployment != first.Deployment {
			t.Errorf("after %d writes: %+v, %v; want generation %d on both sides", cut, p, err, want)
		}
		if err := s.compare(t.Context()); err != nil {
			t.Error(err)
		}
		if err := s.close(); err != nil {
			t.Fatal(err)
		}
	}
}

// The database alone, claimed by a start that never came to its store, is not one
// whose store is gone.
func TestH5_AClaimAloneIsBegunAgain(t *testing.T) {
	dir := t.TempDir()
	m, err := sqlitemeta.Open(t.Context(), sqlitemeta.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	claimed, err := m.ClaimIdentity(t.Context(), identity.New())
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	c := boot.Default()
	c.DataDir = dir
	s, err := openStores(t.Context(), c, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.establish(t.Context(), c, slog.New(slog.DiscardHandler)); err != nil {
		t.Error(err)
	}
	if p, err := s.pair(t.Context()); err != nil || p.Store.Deployment != claimed.Deployment {
		t.Errorf("%+v, %v", p, err)
	}
	if err := s.close(); err != nil {
		t.Error(err)
	}
}
