package sqlmeta_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/meta/sqlmeta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// tenantsRoom is the state of a tenant with its passes.
type tenantsRoom struct {
	sqlmeta.Room
	restorable int64
	passes     int
}

func (r *tenantsRoom) look() (sqlmeta.Room, error) { return r.Room, nil }

// pass ends as much trash as has to make room.
func (r *tenantsRoom) pass() (int, int64, error) {
	r.passes++
	before := r.restorable
	r.restorable = min(before, r.Limit-r.Live)
	return int(before - r.restorable), before, nil
}

func TestW17_NoPassWhileNothingHasChanged(t *testing.T) {
	at := time.Unix(1_700_000_000, 0)
	r := &tenantsRoom{Room: sqlmeta.Room{Limit: 100, Live: 50, Trash: 80, Newest: at}, restorable: 80}
	var rooms sqlmeta.Rooms
	for _, step := range []struct {
		what   string
		change func()
		want   int // passes in all
	}{
		{"more than fits", func() {}, 1},
		{"nothing to end", func() {}, 2},
		{"nothing has changed", func() {}, 2},
		{"what is live shrinks", func() { r.Live = 40 }, 2},
		{"what is live grows into what was free", func() { r.Live = 50 }, 2},
		{"what is live grows beyond it", func() { r.Live = 51 }, 3},
		{"nothing to end again", func() {}, 4},
		{"the janitor removes what has ended", func() { r.Trash = 60 }, 5},
		{"nothing more", func() {}, 5},
		{"a delete, while the janitor removes as much", func() { r.Newest = at.Add(1) }, 6},
		{"nothing more", func() {}, 6},
		{"a smaller quota", func() { r.Limit = 99 }, 7},
		{"another tenant's", func() {}, 8},
	} {
		step.change()
		id := tenant.ID(1)
		if step.what == "another tenant's" {
			id = 2
		}
		if err := rooms.Make(id, r.look, r.pass); err != nil || r.passes != step.want {
			t.Errorf("%s: %d passes, want %d, %v", step.what, r.passes, step.want, err)
		}
		if r.Live+r.restorable > r.Limit {
			t.Errorf("%s: %d live and %d restorable are above %d", step.what, r.Live, r.restorable, r.Limit)
		}
	}
}

func TestW17_OnePassAtATime(t *testing.T) {
	var rooms sqlmeta.Rooms
	look := func() (sqlmeta.Room, error) { return sqlmeta.Room{}, nil }
	entered, leave := make(chan int, 10), make(chan struct{})
	passes := 0
	var first sync.WaitGroup
	first.Go(func() {
		err := rooms.Make(1, look, func() (int, int64, error) {
			passes++
			entered <- passes
			<-leave
			return 1, 1, nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	<-entered
	other := func() (int, int64, error) { t.Error("a second pass at once"); return 0, 0, nil }
	for range 5 {
		if err := rooms.Make(1, look, other); err != nil {
			t.Error(err)
		}
	}
	alone := false
	if err := rooms.Make(2, look, func() (int, int64, error) { alone = true; return 0, 0, nil }); err != nil || !alone {
		t.Errorf("another tenant waits: %v", err)
	}
	close(leave)
	first.Wait()
	if passes != 2 {
		t.Errorf("%d passes for six pushes, of which five came during the first", passes)
	}
	broken := errors.New("down")
	for range 2 { // one that failed does not keep others out
		if err := rooms.Make(1, look, func() (int, int64, error) { return 0, 0, broken }); !errors.Is(err, broken) {
			t.Error(err)
		}
	}
}
