package main

import (
	"maps"
	"slices"
	"strings"

	"github.com/berth-registry/berth/tools/internal/ledger"
)

// books are what the client knows must be there. A register is a reference of a
// repository, "repo:tag" or "repo@digest" for manifests and "repo/digest" for
// blobs; it holds the digest of what it leads to, or nothing.
type books struct {
	ledger   *ledger.Ledger
	current  map[string]string   // registers whose last write was acknowledged
	names    map[string][]string // what a manifest names: "/digest" of blobs, "@digest" of manifests
	charged  map[string]int64    // blobs of the tenant, with their sizes
	touched  map[string]struct{} // registers of this run
	refusals int                 // answers that said "later"
}

func newBooks() *books {
	return &books{
		ledger: ledger.New(), current: map[string]string{}, names: map[string][]string{},
		charged: map[string]int64{}, touched: map[string]struct{}{},
	}
}

func (b *books) touch(key string) { b.touched[key] = struct{}{} }

// split cuts a register into the repository, what stands between, and the
// reference.
func split(key string) (string, string, string) {
	at := strings.LastIndex(key, "sha256:")
	if at < 0 {
		at = strings.LastIndexByte(key, ':') + 1
	}
	return key[:at-1], key[at-1 : at], key[at:]
}

// garbage are the registers of blobs that no manifest names; the janitor makes
// them empty.
func (b *books) garbage() []string {
	held := b.held()
	var keys []string
	for key, value := range b.current {
		if _, kind, _ := split(key); kind == "/" && value != "" && !held[key] {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// held are the registers of blobs that a manifest of their repository names.
func (b *books) held() map[string]bool {
	held := map[string]bool{}
	for key, value := range b.current {
		repo, kind, _ := split(key)
		if kind == "/" || value == "" {
			continue
		}
		for _, name := range b.names[value] {
			held[repo+name] = true
		}
	}
	return held
}

// sweep is what the janitor leaves of the charges: blobs that a repository still
// holds.
func (b *books) sweep() {
	kept := map[string]bool{}
	for key, value := range b.current {
		if _, kind, digest := split(key); kind == "/" && value != "" {
			kept[digest] = true
		}
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
