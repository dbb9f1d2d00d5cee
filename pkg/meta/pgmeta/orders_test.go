package pgmeta

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/berth-registry/berth/pkg/dice"
	"github.com/berth-registry/berth/pkg/fault"
)

// order says which of two actors continues, statement by statement: first makes so many
// statements, then the other one so many, then first all that are left. With a seed it
// is left to chance. An actor that waits for a lock lets the other one continue.
type order struct {
	first, before, between int
	seed                   uint64
}

func (o order) String() string {
	return fmt.Sprintf("%d/%d/%d/%d", o.first, o.before, o.between, o.seed)
}

func parseOrder(s string) (order, error) {
	var o order
	_, err := fmt.Sscanf(s, "%d/%d/%d/%d", &o.first, &o.before, &o.between, &o.seed)
	return o, err
}

// chooser chooses for one meeting.
func (o order) chooser() func(can [2]bool) int {
	taken := [2]int{}
	d := rand.New(rand.NewPCG(o.seed, 0))
	return func(can [2]bool) int {
		next, other := o.first, 1-o.first
		switch {
		case o.seed != 0:
			next = d.IntN(2)
		case taken[o.first] >= o.before && taken[other] < o.between:
			next = other
		}
		if !can[next] {
			next = 1 - next
		}
		taken[next]++
		return next
	}
}

// whole is more statements than an operation has.
const whole = 1 << 30

// after lets one actor do everything before the other.
func after(first int) order { return order{first: first, before: whole} }

// orders are those with at most three switches between two operations that take so
// many statements, and are not one after the other. Which of two equal ones is first makes
// no difference.
func orders(taken [2]int, equal bool) []order {
	var all []order
	firsts := 2
	if equal {
		firsts = 1
	}
	for first := range firsts {
		for before := 1; before < taken[first]; before++ {
			for between := 1; between <= taken[1-first]; between++ {
				all = append(all, order{first: first, before: before, between: between})
			}
		}
	}
	return all
}

// pair is two moves that meet.
type pair struct{ a, b int }

func (p pair) String() string { return moves[p.a].name + "+" + moves[p.b].name }

// also is another answer to a move that what comes of the pair may have: an undelete may
// end what another one, under the same tags, began. One of an index may be refused for a
// child that a purge ended before the index.
func (p pair) also(i int, answer error) (bool, error) {
	both := [2]move{moves[p.a], moves[p.b]}
	switch {
	case both[0].undeletes && both[1].undeletes && (p.a == p.b || both[i].name == "undelete"):
		return true, nil
	case both[i].name == "undelete-index" && both[1-i].purges && fault.Is(answer, fault.ManifestUnknown):
		return true, fault.New(fault.NotFound, fault.ManifestBlobUnknown, "its child")
	}
	return false, answer
}

// rarely is of how many orders CI takes one. Long moves have ten times as many.
func (p pair) rarely() int {
	if moves[p.a].long || moves[p.b].long {
		return 100
	}
	return 10
}

// pairs are those of all moves, each also with itself.
func pairs() []pair {
	var all []pair
	for a := range moves {
		for b := a; b < len(moves); b++ {
			all = append(all, pair{a, b})
		}
	}
	return all
}

var (
	meetFlag  = flag.String("meet", "", "only this pair of TestR50_PairsInAllOrders: put-image+unlink")
	partFlag  = flag.String("part", "", "only this part of the pairs of TestR50_PairsInAllOrders: 1/40")
	orderFlag = flag.String("order", "", "with -meet, only this order: first/before/between/seed")
)

// The random orders of the long run.
const randomOrders = 100_000

// TestR50_PairsInAllOrders lets every two core transactions meet on Postgres, in all
// orders of their statements with at most three switches, and in many that chance
// makes. CI takes a tenth of the orders of a tenth of the pairs, and a hundredth of those of long moves.
func TestR50_PairsInAllOrders(t *testing.T) {
	t.Parallel()
	all := pairs()
	d := rand.New(rand.NewPCG(dice.Seed(t), 0))
	d.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	chance := randomOrders / len(all)
	if *partFlag != "" {
		all = part(t)
	}
	some := all[:dice.Count(t, len(all)/10, len(all))]
	tenth := len(some) < len(all)
	if *meetFlag != "" {
		some, tenth = named(t, all), false
	}
	var made atomic.Int64
	t.Cleanup(func() { t.Logf("count %d orders of %d pairs", made.Load(), len(some)) })
	next := make(chan pair, len(some))
	for _, p := range some {
		next <- p
	}
	close(next)
	for range min(runtime.GOMAXPROCS(0), len(some)) {
		d := rand.New(rand.NewPCG(d.Uint64(), 0))
		t.Run("database", func(t *testing.T) {
			t.Parallel()
			b := newBout(t)
			for p := range next {
				made.Add(int64(b.all(p, tenth, chance, d)))
			}
		})
	}
}

// named is the pair of the flag.
func named(t *testing.T, all []pair) []pair {
	t.Helper()
	for _, p := range all {
		if p.String() == *meetFlag {
			return []pair{p}
		}
	}
	t.Fatalf("no two moves are called %q", *meetFlag)
	return nil
}

// part are the pairs of the flag. The long run takes one part after another.
func part(t *testing.T) []pair {
	t.Helper()
	var number, of int
	if _, err := fmt.Sscanf(*partFlag, "%d/%d", &number, &of); err != nil || number < 1 || number > of {
		t.Fatalf("-part %s: it is a number of a number of parts, as 1/40", *partFlag)
	}
	var some []pair
	for i, p := range pairs() {
		if i%of == number-1 {
			some = append(some, p)
		}
	}
	return some
}

// all lets a pair meet in all its orders or a tenth of them, and in so many that chance
// makes, until something is wrong. It returns how many these were. Of the orders that come
// to the same as one that was made, it takes one in fifty, to see that they do.
func (b *bout) all(p pair, tenth bool, chance int, d *rand.Rand) int {
	b.t.Helper()
	outcomes, taken := b.serially(p)
	all := orders(taken, p.a == p.b)
	for range chance {
		all = append(all, order{seed: d.Uint64() | 1})
	}
	if *orderFlag != "" {
		o, err := parseOrder(*orderFlag)
		if err != nil {
			b.t.Fatalf("-order %s: %v", *orderFlag, err)
		}
		all = []order{o}
	}
	left := map[order]bool{}
	for _, o := range all {
		left[o] = o.seed == 0
	}
	same := map[order]string{} // what an order that was made came to
	made := 0
	b.judged = map[string]bool{}
	for _, o := range all {
		want, known := same[o]
		if tenth && d.IntN(p.rarely()) != 0 || known && d.IntN(50) != 0 {
			continue
		}
		made++
		m, state := b.holds(p, o, outcomes)
		switch {
		case m == nil:
			return made
		case known && state != want:
			b.t.Errorf("%s in the order %s comes to\n%s\nand not, as expected, to\n%s\n%s", p, o, state, want, m)
			return made
		case !tenth && !known && o.seed == 0:
			delete(left, o)
			newTrack(b.touches, m).covered(o, left, func(other order) { same[other] = state })
		}
	}
	return made
}
