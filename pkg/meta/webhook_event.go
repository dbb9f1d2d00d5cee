package meta

import (
	"cmp"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/oci"
)

// HookedEvent is an event whose deliveries are to be made.
type HookedEvent struct {
	Event
	Op         uuid.UUID // of the operation, which an event has for good
	TenantSlug string
	Registry   string // of the target; empty: it is in none
	Repository string // of the target; empty where the target is no part of one
	Digest     oci.Digest
	Tags       []HookedTag // that the event names
	MediaType  string      // of a manifest that is still there
	Size       int64       // likewise
}

// HookedTag is a tag that an event names.
type HookedTag struct {
	Name    string
	Version int64 // that the event gave it; 0: it did not move it
}

// Locate reads registry, repository, digest and tags of the event from its target and its
// changes.
func (e *HookedEvent) Locate() {
	const registries, repositories, tagField = "registries/", "/repositories/", "tag "
	rest, found := strings.CutPrefix(e.Target, registries)
	if !found {
		return
	}
	var name string
	if e.Registry, name, found = strings.Cut(rest, repositories); !found {
		e.Registry, _, _ = strings.Cut(rest, "/")
		return
	}
	suffix := ""
	if i := strings.IndexAny(name, ":@"); i >= 0 {
		name, suffix = name[:i], name[i:]
	}
	e.Repository = name
	tags, digest, _ := strings.Cut(suffix, "@")
	if d, err := oci.ParseDigest(digest); err == nil {
		e.Digest = d
	}
	var names []string
	if tags = strings.TrimPrefix(tags, ":"); tags != "" {
		names = strings.Split(tags, ",")
	}
	changes, err := DecodeChanges(e.Changes)
	if err != nil {
		changes = nil // the event is still told
	}
	for _, c := range changes {
		if tag, ok := strings.CutPrefix(c.Field, tagField); ok && !slices.Contains(names, tag) {
			names = append(names, tag)
		}
	}
	for _, n := range names {
		e.Tags = append(e.Tags, HookedTag{Name: n})
	}
}

// TagKey is by which deliveries of events of one tag are in order.
func (e *HookedEvent) TagKey(tag string) string {
	return "registries/" + e.Registry + "/repositories/" + e.Repository + ":" + tag
}

// InTagOrder returns the first n events of a tenant, and of the others those that come before
// one of them, in an order in which events of one tag have that of its versions. Those without
// one, and all others, keep theirs.
func InTagOrder(events []HookedEvent, n int) []HookedEvent {
	places := map[string][]int{} // of the events that moved a tag, by tag
	for i := range events {
		for _, tag := range events[i].Tags {
			if tag.Version != 0 {
				key := events[i].TagKey(tag.Name)
				places[key] = append(places[key], i)
			}
		}
	}
	before := make([][]int, len(events)) // events that come before
	for key, at := range places {
		version := func(i int) int64 {
			for _, tag := range events[i].Tags {
				if events[i].TagKey(tag.Name) == key {
					return tag.Version
				}
			}
			return 0
		}
		slices.SortStableFunc(at, func(a, b int) int { return cmp.Compare(version(a), version(b)) })
		for i := 1; i < len(at); i++ {
			before[at[i]] = append(before[at[i]], at[i-1])
		}
	}
	sorted := make([]HookedEvent, 0, n)
	placed := make([]bool, len(events))
	var place func(i int)
	place = func(i int) {
		if placed[i] {
			return
		}
		placed[i] = true
		for _, b := range before[i] {
			place(b)
		}
		sorted = append(sorted, events[i])
	}
	for i := range min(n, len(events)) {
		place(i)
	}
	return sorted
}
