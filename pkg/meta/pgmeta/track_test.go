package pgmeta

// track is a meeting with what its steps touched. It says which other orders come to the
// same, since they differ from it only by steps that have nothing to do with one another:
// neither waits for a lock of the other, or sees what the other's transaction wrote.
type track struct {
	actors [2][]footstep
	known  map[[2]int]bool // whether two steps, one of each actor, have to do with one another
}

// footstep is a step of one actor.
type footstep struct {
	touches footprint
	ends    bool      // its transaction
	ended   footprint // what that had touched
	before  int       // steps of the other actor before it
	waited  int       // steps of the other actor before its end
}

func newTrack(f *footprints, m *meeting) *track {
	t := &track{known: map[[2]int]bool{}}
	var open [2]transaction
	for i := range open {
		open[i] = newTransaction()
	}
	made := make([][2]int, len(m.steps)+1) // steps of each actor among the first so many
	for i, s := range m.steps {
		made[i+1] = made[i]
		made[i+1][s.actor]++
	}
	for i, s := range m.steps {
		one := footstep{ends: s.ends, before: made[i][1-s.actor], waited: made[s.until][1-s.actor]}
		one.touches = open[s.actor].takes(f, s)
		if s.ends {
			one.ended = open[s.actor].touched
			open[s.actor] = newTransaction()
		}
		t.actors[s.actor] = append(t.actors[s.actor], one)
	}
	return t
}

// transaction is what one has touched so far, and what its triggers will touch at its end.
type transaction struct {
	touched, due footprint
	checks       bool // each statement runs its triggers
}

func newTransaction() transaction {
	return transaction{touched: newFootprint(), due: newFootprint()}
}

// takes returns what a step of the transaction touches.
func (t *transaction) takes(f *footprints, s step) footprint {
	touches, due := f.of(s.text)
	t.due.add(due)
	t.checks = t.checks || s.text == chargeNow
	if s.ends || t.checks {
		whole := newFootprint()
		whole.add(touches)
		whole.add(t.due)
		touches = whole
	}
	t.touched.add(touches)
	return touches
}

// meet says whether two steps have to do with one another.
func (t *track) meet(a, b int) bool {
	meets, ok := t.known[[2]int{a, b}]
	if !ok {
		s, o := t.actors[0][a], t.actors[1][b]
		meets = s.touches.waits(o.touches) || s.over(o) || o.over(s)
		t.known[[2]int{a, b}] = meets
	}
	return meets
}

// over says whether the end of a step's transaction changes what another step does.
func (s footstep) over(o footstep) bool {
	return s.ends && (s.ended.waits(o.touches) || s.ended.writes.meet(o.touches.reads))
}

// covers says whether an order comes to the same as the track.
func (t *track) covers(o order) bool {
	choose := o.chooser()
	var made [2]int
	waits := [2]int{-1, -1} // for so many steps of the other
	for made[0] < len(t.actors[0]) || made[1] < len(t.actors[1]) {
		var can [2]bool
		for i := range can {
			if made[1-i] >= waits[i] {
				waits[i] = -1
			}
			can[i] = made[i] < len(t.actors[i]) && waits[i] < 0
		}
		if !can[0] && !can[1] {
			return false
		}
		i := choose(can)
		s := t.actors[i][made[i]]
		for other := min(made[1-i], s.before); other < max(made[1-i], s.before); other++ {
			pair := [2]int{made[i], other}
			if i == 1 {
				pair = [2]int{other, made[i]}
			}
			if t.meet(pair[0], pair[1]) {
				return false
			}
		}
		if s.waited > s.before {
			waits[i] = s.waited
		}
		made[i]++
	}
	return true
}

// covered adds to what is left of some orders those that come to the same as one of them:
// its neighbours, and theirs.
func (t *track) covered(o order, left map[order]bool, found func(order)) {
	for next := []order{o}; len(next) > 0; next = next[1:] {
		for _, d := range [][2]int{{-1, 0}, {1, 0}, {0, -1}, {0, 1}} {
			n := next[0]
			n.before += d[0]
			n.between += d[1]
			if left[n] && t.covers(n) {
				delete(left, n)
				found(n)
				next = append(next, n)
			}
		}
	}
}
