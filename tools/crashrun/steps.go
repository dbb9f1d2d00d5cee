package main

import (
	"fmt"
	"sync"
)

// step is a moment of an operation: the n-th time, from 1, that something is
// about to happen or has just happened.
type step struct {
	name string
	n    int
}

func (s step) String() string { return fmt.Sprintf("%s #%d", s.name, s.n) }

// watch sees the steps of a process and says at which one it dies. It is told
// of steps by a gate or by proxies, from many goroutines.
type watch struct {
	mu     sync.Mutex
	on     bool
	target step
	seen   map[string]int
	order  []string // names of steps in the order of their first time
	hit    bool
	kills  int
}

// arm begins to count; the target is where to kill, zero to count only.
func (w *watch) arm(target step) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.on, w.target, w.seen, w.order, w.hit, w.kills = true, target, map[string]int{}, nil, false, 0
}

// rearm counts again after a kill, to kill once more at another target.
func (w *watch) rearm(target step) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.target, w.seen, w.hit = target, map[string]int{}, false
}

// disarm ends the counting, and says how often a target was reached.
func (w *watch) disarm() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.on = false
	return w.kills
}

// blind does something that belongs to no operation.
func (w *watch) blind(do func() error) error {
	was := w.set(false)
	defer w.set(was)
	return do()
}

func (w *watch) set(on bool) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	was := w.on
	w.on = on
	return was
}

// times is how often a step came.
func (w *watch) times(name string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen[name]
}

// reach counts a step and says whether to kill there, which is said once.
func (w *watch) reach(name string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.on || w.hit || name == "" {
		return false
	}
	if w.seen[name] == 0 && w.kills == 0 {
		w.order = append(w.order, name)
	}
	w.seen[name]++
	if w.target == (step{name, w.seen[name]}) {
		w.hit = true
		w.kills++
	}
	return w.hit
}

// killed says whether the present target was reached.
func (w *watch) killed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.hit
}

// counted is how often each step came, in the order in which they first did.
func (w *watch) counted() []step {
	w.mu.Lock()
	defer w.mu.Unlock()
	steps := make([]step, len(w.order))
	for i, name := range w.order {
		steps[i] = step{name, w.seen[name]}
	}
	return steps
}
