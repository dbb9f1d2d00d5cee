package pgmeta

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
)

// bout is where pairs of moves meet.
type bout struct {
	t       testing.TB
	arena   *arena
	contest *contest
	touches *footprints
	left    digests         // the rows after the last meeting
	judged  map[string]bool // answers of this pair with the rows then, in which nothing was wrong
}

func newBout(t testing.TB) *bout {
	t.Helper()
	url := migrated(t)
	return &bout{t: t, arena: newArena(t, url), contest: newContest(t, url), touches: newFootprints(t, connect(t, url))}
}

// meet lets both moves of a pair run at once.
func (b *bout) meet(p pair, o order) *meeting {
	b.t.Helper()
	b.arena.back(b.t, b.left)
	b.left = nil
	return b.contest.run([2]func(*Store) error{moves[p.a].all(b.arena), moves[p.b].all(b.arena)}, o.chooser())
}

// outcome is what both were answered, and a view of what there is then. What the
// janitor left since others had it locked is done by its next call.
func (b *bout) outcome(p pair, answers [2]error) (string, []string) {
	b.t.Helper()
	for _, m := range []move{moves[p.a], moves[p.b]} {
		if m.again {
			if err := m.all(b.arena)(b.arena.store); err != nil {
				b.t.Fatal(err)
			}
		}
	}
	view := b.arena.view(b.t)
	return fmt.Sprintf("answers: %s, %s\n%s", reason(answers[0]), reason(answers[1]), strings.Join(view, "\n")), view
}

func reason(err error) string {
	var f *fault.Error
	if errors.As(err, &f) {
		return string(f.Reason)
	}
	return fmt.Sprint(err)
}

// serially returns what may come of a pair: what comes of its calls one after another,
// in any order that keeps that of each move; and how many statements each move takes.
func (b *bout) serially(p pair) ([]string, [2]int) {
	b.t.Helper()
	var outcomes []string
	var taken [2]int
	note := func(answers [2]error) {
		outcome, _ := b.outcome(p, answers)
		outcomes = append(outcomes, outcome)
		for i := range answers {
			if other, answer := p.also(i, answers[i]); other {
				answers[i] = answer
				outcome, _ := b.outcome(p, answers)
				outcomes = append(outcomes, outcome)
			}
		}
	}
	for first := range 2 {
		m := b.meet(p, after(first))
		for i := range taken {
			taken[i] = max(taken[i], m.taken[i])
		}
		note(m.answers)
	}
	both := [2]move{moves[p.a], moves[p.b]}
	for _, turns := range merges(len(both[0].split()), len(both[1].split())) {
		note(b.takeTurns([2][]call{both[0].split(), both[1].split()}, turns))
	}
	slices.Sort(outcomes)
	return slices.Compact(outcomes), taken
}

// takeTurns makes the calls of two moves one after another, each until one fails.
func (b *bout) takeTurns(calls [2][]call, turns []int) [2]error {
	b.t.Helper()
	b.arena.back(b.t, nil)
	var made [2]int
	var answers [2]error
	for _, i := range turns {
		if answers[i] == nil {
			answers[i] = calls[i][made[i]](b.arena, b.arena.store)
			made[i]++
		}
	}
	return answers
}

// merges are all sequences of n zeros and m ones.
func merges(n, m int) [][]int {
	if n == 0 || m == 0 {
		return [][]int{slices.Concat(make([]int, n), slices.Repeat([]int{1}, m))}
	}
	var all [][]int
	for _, rest := range merges(n-1, m) {
		all = append(all, append([]int{0}, rest...))
	}
	for _, rest := range merges(n, m-1) {
		all = append(all, append([]int{1}, rest...))
	}
	return all
}

// holds lets a pair meet, and holds it to the protocol: no answer is a defect, nothing
// deadlocks, what comes of it also comes of one call after the other, and what there is
// then can be read, and stays when everything was collected. What comes of the same
// answers and the same rows is known. It returns the meeting and these, or nil.
func (b *bout) holds(p pair, o order, outcomes []string) (*meeting, string) {
	b.t.Helper()
	m := b.meet(p, o)
	var wrong []string
	if m.deadlock || slices.Contains(m.codes, deadlockDetected) {
		wrong = append(wrong, "a deadlock")
	}
	for i, err := range m.answers {
		if k := fault.KindOf(err); err != nil && (k == fault.Internal || k == fault.Unavailable) {
			wrong = append(wrong, fmt.Sprintf("%c is answered %v", 'A'+i, err))
		}
	}
	left := b.arena.saved.state(b.t)
	state := fmt.Sprintf("%s %s %s", reason(m.answers[0]), reason(m.answers[1]), left)
	if b.judged[state] {
		b.left = left
	} else {
		wrong = append(wrong, b.judge(p, m.answers, outcomes)...)
	}
	if len(wrong) > 0 {
		b.t.Errorf("%s\nA is %s, B is %s:\n%s\nagain: go test -run TestR50_Pairs -args -meet %s -order %s",
			strings.Join(wrong, "\n"), moves[p.a].name, moves[p.b].name, m, p, o)
		return nil, ""
	}
	b.judged[state] = true
	return m, state
}

// judge says what is wrong with the answers and what there is now.
func (b *bout) judge(p pair, answers [2]error, outcomes []string) []string {
	b.t.Helper()
	var wrong []string
	got, before := b.outcome(p, answers)
	if !slices.Contains(outcomes, got) {
		wrong = append(wrong, "one after the other, they make\n"+strings.Join(outcomes, "\nor\n")+"\nand now\n"+got)
	}
	wrong = append(wrong, b.arena.unreadable(b.t, before)...)
	wrong = append(wrong, b.collect()...)
	return append(wrong, b.arena.unsettled(b.t, before)...)
}

// collect is the janitor's work of some days. It says what is wrong with it, and with
// the rows that are left.
func (b *bout) collect() []string {
	b.t.Helper()
	var wrong []string
	s, ctx := b.arena.store, b.t.Context()
	work := func(phase phase) bool {
		n, err := phase(ctx, 100)
		if err != nil {
			wrong = append(wrong, fmt.Sprintf("the janitor: %v", err))
		}
		return n > 0
	}
	for work(s.ReapUploads) || work(s.PurgeDeleted) {
		continue
	}
	for range 2 { // the links of what expired stay for a day
		b.arena.pass(b.t, 49*time.Hour)
		for _, phase := range []phase{s.endTrash, s.ExpireCached, s.UnlinkBlobs, s.DropBlobs} {
			work(phase)
		}
	}
	err := s.CheckRows(ctx, func(f meta.Finding) { wrong = append(wrong, f.Invariant+" "+f.Detail) })
	if err != nil {
		b.t.Fatal(err)
	}
	return wrong
}
