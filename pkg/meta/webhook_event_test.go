package meta_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/meta"
)

func hooked(id int64, tags ...meta.HookedTag) meta.HookedEvent {
	return meta.HookedEvent{Event: meta.Event{ID: id}, Op: uuid.New(), Registry: "dev", Repository: "app", Tags: tags}
}

// TestW193_EventsOfATagHaveItsOrder where their ids have another one, since transactions end in
// another order than they begin.
func TestW193_EventsOfATagHaveItsOrder(t *testing.T) {
	tag := func(name string, version int64) meta.HookedTag { return meta.HookedTag{Name: name, Version: version} }
	for name, c := range map[string]struct {
		events []meta.HookedEvent
		n      int
		want   []int64
	}{
		"as they are":             {[]meta.HookedEvent{hooked(1, tag("a", 1)), hooked(2), hooked(3, tag("a", 2))}, 9, []int64{1, 2, 3}},
		"turned":                  {[]meta.HookedEvent{hooked(1, tag("a", 3)), hooked(2, tag("b", 1)), hooked(3, tag("a", 2)), hooked(4, tag("a", 1))}, 9, []int64{4, 3, 1, 2}},
		"of several tags":         {[]meta.HookedEvent{hooked(1, tag("a", 2), tag("b", 7)), hooked(2, tag("b", 8)), hooked(3, tag("a", 1))}, 9, []int64{3, 1, 2}},
		"beyond what is made now": {[]meta.HookedEvent{hooked(1, tag("a", 2)), hooked(2), hooked(3), hooked(4, tag("a", 1))}, 2, []int64{4, 1, 2}},
		"without a version":       {[]meta.HookedEvent{hooked(1, tag("a", 0)), hooked(2, tag("a", 0)), hooked(3, tag("a", 5))}, 9, []int64{1, 2, 3}},
	} {
		var got []int64
		for _, e := range meta.InTagOrder(c.events, c.n) {
			got = append(got, e.ID)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestW192_EventsAreLocatedByTheirTarget(t *testing.T) {
	const digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	for target, want := range map[string]string{
		"registries/dev/repositories/team/app:v1,v2@" + digest: "dev team/app " + digest + " v1 v2",
		"registries/dev/repositories/app@" + digest:            "dev app " + digest,
		"registries/dev/repositories/app:v1":                   "dev app  v1",
		"registries/dev/repositories/app":                      "dev app ",
		"registries/dev":                                       "dev  ",
		"registries/dev/nameClaims/app":                        "dev  ",
		"upstreams/ghcr/repositories/app:v1":                   "  ",
		"serviceAccounts/ci":                                   "  ",
		"":                                                     "  ",
	} {
		e := meta.HookedEvent{Event: meta.Event{Target: target}}
		e.Locate()
		got := []string{e.Registry, e.Repository, e.Digest.String()}
		for _, tag := range e.Tags {
			got = append(got, tag.Name)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %q, want %q", target, got, want)
		}
	}
	e := meta.HookedEvent{Event: meta.Event{Target: "registries/dev/repositories/app@" + digest, Changes: meta.EncodeChanges([]meta.Change{{Field: "tag v1", Old: digest}, {Field: "tag_rule x"}})}}
	if e.Locate(); len(e.Tags) != 1 || e.Tags[0].Name != "v1" {
		t.Errorf("%+v", e.Tags)
	}
}

func TestW192_WebhooksAreForVerbsAndPlaces(t *testing.T) {
	e := meta.HookedEvent{Event: meta.Event{Verb: "manifest.put"}, Registry: "dev", Repository: "team/app"}
	for name, c := range map[string]struct {
		w    meta.Webhook
		want bool
	}{
		"all":                 {meta.Webhook{}, true},
		"disabled":            {meta.Webhook{Disabled: true}, false},
		"the verb":            {meta.Webhook{Events: []string{"tag.delete", "manifest.put"}}, true},
		"the noun":            {meta.Webhook{Events: []string{"manifest.*"}}, true},
		"what was done":       {meta.Webhook{Events: []string{"*.put"}}, true},
		"any":                 {meta.Webhook{Events: []string{"*"}}, true},
		"another verb":        {meta.Webhook{Events: []string{"manifest.delete", "blob.*"}}, false},
		"the registry":        {meta.Webhook{Registry: "dev"}, true},
		"another registry":    {meta.Webhook{Registry: "prod"}, false},
		"the repositories":    {meta.Webhook{Repositories: []string{"team/**"}}, true},
		"other repositories":  {meta.Webhook{Repositories: []string{"app"}}, false},
		"of webhooks, itself": {meta.Webhook{Events: []string{"webhook.*"}}, false},
	} {
		if got := c.w.Wants(&e); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
	for _, own := range []string{meta.WebhookGone, meta.WebhookDropped} {
		if all := (meta.Webhook{}); all.Wants(&meta.HookedEvent{Event: meta.Event{Verb: own}}) {
			t.Errorf("%s goes to webhooks", own)
		}
	}
}
