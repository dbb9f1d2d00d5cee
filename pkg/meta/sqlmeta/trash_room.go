package sqlmeta

import (
	"sync"
	"time"

	"github.com/berth-registry/berth/pkg/tenant"
)

// FindRoom finds what a tenant with a quota has, and until when its newest trash can be
// restored: a delete changes that.
const FindRoom = `
SELECT u.lim, u.used + u.overhead - u.cached - u.trash, u.trash,
       (SELECT max(m.restore_until) FROM trashed_manifests m WHERE m.tenant_id = u.tenant_id)
  FROM usage u WHERE u.tenant_id = $1`

// Room is what a tenant has.
type Room struct {
	Limit  int64
	Live   int64     // bytes of what is live, and of deleted repositories
	Trash  int64     // bytes that only deleted content stands for, ended or not
	Newest time.Time // until when the newest trash can be restored
}

// Dest is what a row of FindRoom is scanned into.
func (r *Room) Dest() []any {
	return []any{&r.Limit, &r.Live, &r.Trash, timeScanner{&r.Newest}}
}

// enough is what a tenant had when nothing had to be ended.
type enough struct {
	Room
	restorable int64 // bytes of the trash that could be restored
}

// covers reports whether nothing has to be ended now: no trash came or went since, and
// what is live has grown into what was free at most. What deleted repositories hold counts
// twice, so that it may be deleted and restored in between.
func (e enough) covers(now Room) bool {
	return e.Limit == now.Limit && e.Trash == now.Trash && e.Newest.Equal(now.Newest) && now.Live+e.restorable <= now.Limit
}

// maxEnough bounds the tenants that Rooms remembers something of.
const maxEnough = 4096

// Rooms lets one pass at a time end the oldest trash of a tenant in this process, and none
// while the last one found nothing to end and nothing has changed. Passes of other
// processes and the janitor's are not known to it, nor do they need to be. The zero value
// is ready.
type Rooms struct {
	mu      sync.Mutex
	passes  map[tenant.ID]bool // those that are running, and whether another push needs room
	settled map[tenant.ID]enough
}

// Make makes room for a tenant by passes, each of which ends trash and returns how much, and
// the bytes of what could be restored before; look is FindRoom. Where a pass is
// running, that makes room for this push, too, after it.
func (r *Rooms) Make(id tenant.ID, look func() (Room, error), pass func() (int, int64, error)) error {
	if !r.begin(id) {
		return nil
	}
	var err error
	for again := true; again; again = r.end(id, err) {
		err = r.once(id, look, pass)
	}
	return err
}

func (r *Rooms) once(id tenant.ID, look func() (Room, error), pass func() (int, int64, error)) error {
	now, err := look() // before the pass: what comes after it is a change
	if err != nil || r.enough(id, now) {
		return err
	}
	ended, restorable, err := pass()
	if err == nil {
		r.settle(id, ended == 0, enough{now, restorable})
	}
	return err
}

// begin reports whether the caller makes room; else the one who does is asked to do it
// again.
func (r *Rooms) begin(id tenant.ID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, running := r.passes[id]
	if r.passes == nil {
		r.passes, r.settled = map[tenant.ID]bool{}, map[tenant.ID]enough{}
	}
	r.passes[id] = running
	return !running
}

// end ends a pass, and reports whether another one has to follow.
func (r *Rooms) end(id tenant.ID, err error) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.passes[id] && err == nil {
		r.passes[id] = false
		return true
	}
	delete(r.passes, id)
	return false
}

func (r *Rooms) enough(id tenant.ID, now Room) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, known := r.settled[id]
	return known && e.covers(now)
}

func (r *Rooms) settle(id tenant.ID, nothing bool, e enough) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if delete(r.settled, id); !nothing {
		return
	}
	if len(r.settled) >= maxEnough {
		clear(r.settled)
	}
	r.settled[id] = e
}
