package cacheroom

// Reservation is room for a blob that is being stored. A nil *Reservation is that of a cache
// without a bound. It is for one goroutine.
type Reservation struct {
	room    *Room
	n       int64
	written int64
	ended   bool
}

// Write counts bytes that go to the blob store. It is an io.Writer that never fails.
func (r *Reservation) Write(p []byte) (int, error) {
	if r != nil {
		r.written += int64(len(p))
		r.room.written.Add(int64(len(p)))
	}
	return len(p), nil
}

// End ends the reservation: the bytes are committed or given up. It can be called again.
func (r *Reservation) End() {
	if r == nil || r.ended {
		return
	}
	r.ended = true
	r.room.mu.Lock()
	defer r.room.mu.Unlock()
	r.room.running -= r.n
	r.room.stored += r.n
	r.room.written.Add(-r.written)
}
