package main

import (
	"maps"

	"github.com/berth-registry/berth/tools/internal/ledger"
)

// books are what the client knows must be there: the ledger, and what follows from
// it for other registers.
type books struct {
	ledger   *ledger.Ledger
	current  map[ledger.Register]string   // registers whose last write was acknowledged
	names    map[string][]ledger.Register // what a manifest names, without the repository
	charged  map[string]int64             // blobs of the tenant, with their sizes
	touched  map[ledger.Register]struct{} // registers of this run
	changes  map[mutation]*attempts       // what events tell of
	refusals int                          // answers that said "later"
}

func newBooks() *books {
	return &books{
		ledger: ledger.New(), current: map[ledger.Register]string{}, names: map[string][]ledger.Register{},
		charged: map[string]int64{}, touched: map[ledger.Register]struct{}{}, changes: map[mutation]*attempts{},
	}
}

func (b *books) touch(r ledger.Register) { b.touched[r] = struct{}{} }

// named are the registers that a manifest of the repository names.
func (b *books) named(repo, manifest string) []ledger.Register {
	named := make([]ledger.Register, len(b.names[manifest]))
	for i, r := range b.names[manifest] {
		r.Repo = repo
		named[i] = r
	}
	return named
}

// garbage are the registers of blobs that no manifest names; the janitor makes
// them empty.
func (b *books) garbage() []ledger.Register {
	garbage := maps.Clone(b.current)
	for r, value := range b.current {
		if r.Kind == ledger.BlobKind {
			continue
		}
		for _, held := range b.named(r.Repo, value) {
			delete(garbage, held)
		}
	}
	maps.DeleteFunc(garbage, func(r ledger.Register, value string) bool { return r.Kind != ledger.BlobKind || value == "" })
	return ledger.Sorted(maps.Keys(garbage))
}

// sweep is what the janitor leaves of the charges: blobs that a repository still
// holds.
func (b *books) sweep() {
	kept := map[string]bool{}
	for r, value := range b.current {
		kept[value] = kept[value] || r.Kind == ledger.BlobKind
	}
	maps.DeleteFunc(b.charged, func(digest string, _ int64) bool { return !kept[digest] })
}

// total is what the quota must say.
func (b *books) total() int64 {
	var sum int64
	for _, size := range b.charged {
		sum += size
	}
	return sum
}
