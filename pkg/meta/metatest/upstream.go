package metatest

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

func testUpstreams(t *testing.T, open Open) {
	settings := meta.UpstreamSettings{
		UpstreamTarget: meta.UpstreamTarget{URL: "https://ghcr.example", Username: "u", Password: []byte{0, 1, 255}}, AuthHosts: []string{"auth.example"},
		HostAliases: []string{"ghcr"}, NamePrefix: "library/", Include: []string{"a/**"}, Exclude: []string{"a/b"}, AllowClaimed: []string{"c"},
		TagTTL: time.Minute, NegativeTTL: time.Second, StaleIfError: time.Hour, Keep: 24 * time.Hour, MaxBytes: 7,
	}
	t.Run("belong to one tenant", func(t *testing.T) {
		w := newWorld(t, open)
		other, _ := w.addTenant("other", 0)
		by, u := cause(), meta.Upstream{Tenant: w.tenant, Slug: "ghcr", Settings: settings}
		made, err := w.Store.CreateUpstream(t.Context(), by, u)
		w.must(err)
		want := u
		want.ID, want.Cache, want.Version, want.CreatedAt, want.UpdatedAt = made.ID, made.Cache, made.Version, w.Now(), w.Now()
		w.sameUpstream(made, want)
		if made.ID == 0 || made.Cache == 0 || made.Version == 0 {
			t.Errorf("made %+v", made)
		}
		again, err := w.Store.CreateUpstream(t.Context(), by, u) // the same request again
		w.must(err)
		w.sameUpstream(again, made)
		found, err := w.Store.FindUpstream(t.Context(), w.tenant, "ghcr")
		w.must(err)
		w.sameUpstream(found, made)
		_, err = w.Store.CreateUpstream(t.Context(), cause(), u)
		w.refused(err, fault.Conflict, fault.AlreadyExists)
		_, err = w.Store.FindUpstream(t.Context(), other, "ghcr")
		w.refused(err, fault.NotFound, fault.ResourceUnknown)
		_, err = w.Store.UpdateUpstream(t.Context(), cause(), meta.Upstream{Tenant: other, Slug: "ghcr"}, true)
		w.refused(err, fault.NotFound, fault.ResourceUnknown)
		w.refused(w.Store.DeleteUpstream(t.Context(), cause(), other, "ghcr", 0), fault.NotFound, fault.ResourceUnknown)
		_, err = w.Store.CreateUpstream(t.Context(), cause(), meta.Upstream{Tenant: 4711, Slug: "ghcr"})
		w.refused(err, fault.NotFound, fault.ResourceUnknown)
		if u := w.addUpstreamOf(other, "ghcr", meta.UpstreamSettings{}); u.ID == made.ID || u.Cache == made.Cache {
			t.Errorf("another tenant's is %+v", u)
		}
		w.consistent()
	})
	t.Run("page by slug", func(t *testing.T) {
		w := newWorld(t, open)
		for _, slug := range []string{"cc", "aa", "bb"} {
			w.addUpstream(slug, meta.UpstreamSettings{})
		}
		for _, page := range []struct {
			after string
			size  int
			want  []string
		}{{"", 2, []string{"aa", "bb"}}, {"bb", 2, []string{"cc"}}, {"cc", 2, nil}, {"", 0, nil}} {
			got, err := w.Store.ListUpstreams(t.Context(), w.tenant, meta.Page{After: page.after, Size: page.size})
			w.must(err)
			var slugs []string
			for _, u := range got {
				slugs = append(slugs, u.Slug)
			}
			if !slices.Equal(slugs, page.want) {
				t.Errorf("after %q: %v, want %v", page.after, slugs, page.want)
			}
		}
	})
	t.Run("change if no one else changed them", func(t *testing.T) {
		w := newWorld(t, open)
		before := w.addUpstream("ghcr", settings)
		w.Advance(time.Minute)
		change := before
		change.Settings.TagTTL, change.Settings.Include = time.Hour, nil
		by := cause()
		after, err := w.Store.UpdateUpstream(t.Context(), by, change, false)
		w.must(err)
		want := change
		want.Version, want.UpdatedAt = after.Version, w.Now()
		w.sameUpstream(after, want)
		if after.Version <= before.Version {
			t.Errorf("version %d after %d", after.Version, before.Version)
		}
		again, err := w.Store.UpdateUpstream(t.Context(), by, change, false) // the same request again
		w.must(err)
		w.sameUpstream(again, after)
		_, err = w.Store.UpdateUpstream(t.Context(), cause(), change, false)
		w.refused(err, fault.Conflict, fault.EtagMismatch)
		w.refused(w.Store.DeleteUpstream(t.Context(), cause(), w.tenant, "ghcr", before.Version), fault.Conflict, fault.EtagMismatch)
		by = cause()
		w.must(w.Store.DeleteUpstream(t.Context(), by, w.tenant, "ghcr", after.Version))
		w.must(w.Store.DeleteUpstream(t.Context(), by, w.tenant, "ghcr", 0)) // the same request again
		w.refused(w.Store.DeleteUpstream(t.Context(), cause(), w.tenant, "ghcr", 0), fault.NotFound, fault.ResourceUnknown)
		if again := w.addUpstream("ghcr", settings); again.ID == before.ID || again.Cache == before.Cache {
			t.Errorf("made again %+v, was %+v", again, before)
		}
		w.consistent()
	})
	t.Run("keep what was last seen of them apart from their versions", func(t *testing.T) {
		w := newWorld(t, open)
		u := w.addUpstream("ghcr", settings)
		events := len(w.events("", 100))
		u.Status = meta.UpstreamStatus{
			State: "open", SucceededAt: w.Now(), FailedAt: w.Now().Add(time.Second), Failure: "no answer",
			RateLimit: 100, RateLimitRemaining: 7, RateLimitWindow: 21600, RateLimitReset: time.Unix(1_800_000_000, 0).UTC(),
		}
		w.Advance(time.Minute)
		w.must(w.Store.RecordStatus(t.Context(), w.tenant, u.ID, u.Status))
		w.must(w.Store.RecordStatus(t.Context(), w.tenant, u.ID+1, u.Status)) // it is gone
		other, _ := w.addTenant("other", 0)
		w.must(w.Store.RecordStatus(t.Context(), other, u.ID, meta.UpstreamStatus{State: "closed"}))
		found, err := w.Store.FindUpstream(t.Context(), w.tenant, "ghcr")
		w.must(err)
		w.sameUpstream(found, u)
		if got := len(w.events("", 100)); got != events {
			t.Errorf("%d events, there were %d", got, events)
		}
		changed, err := w.Store.UpdateUpstream(t.Context(), cause(), found, false)
		if err != nil || changed.Status.State != "open" {
			t.Errorf("a change left %+v, %v", changed.Status, err)
		}
	})
	t.Run("have caches that no one finds as registries", func(t *testing.T) {
		w := newWorld(t, open)
		u := w.addUpstream("ghcr", settings)
		w.registries([]string{"main"}, "", 9)
		// The names that stores give them begin with the slug of no registry.
		for _, slug := range []string{"upstream/1/1", "upstreams/1/1", "upstream/1", "ghcr", ""} {
			_, err := w.Store.FindRegistry(t.Context(), w.tenant, slug)
			w.refused(err, fault.NotFound, fault.ResourceUnknown)
			_, err = w.Store.UpdateRegistry(t.Context(), cause(), meta.Registry{Tenant: w.tenant, Slug: slug})
			w.refused(err, fault.NotFound, fault.ResourceUnknown)
			w.refused(w.Store.DeleteRegistry(t.Context(), cause(), w.tenant, slug, 0, true), fault.NotFound, fault.ResourceUnknown)
			_, err = w.Store.CreateDomain(t.Context(), cause(), meta.Domain{Tenant: w.tenant, Registry: slug, Host: "a.com"})
			w.refused(err, fault.NotFound, fault.ResourceUnknown)
			w.nowhere(tenant.Lookup{Host: "x", TenantSlug: "acme", Registry: slug})
		}
		_, err := w.Store.FindUpstream(t.Context(), w.tenant, "ghcr")
		w.must(err)
		if _, err := w.Store.CreateUpload(t.Context(), meta.Repo{Tenant: w.tenant, Registry: u.Cache, Name: "app"}, oci.SHA256); err != nil {
			t.Errorf("the cache takes no upload: %v", err)
		}
	})
	t.Run("tell of every change in the audit log", func(t *testing.T) {
		w := newWorld(t, open)
		u := w.addUpstream("ghcr", settings)
		_, err := w.Store.UpdateUpstream(t.Context(), cause(), u, true)
		w.must(err)
		w.must(w.Store.DeleteUpstream(t.Context(), cause(), w.tenant, "ghcr", 0))
		w.told("upstream.delete upstreams/ghcr", "upstream.update upstreams/ghcr", "upstream.create upstreams/ghcr")
	})
	t.Run("end with their tenant", func(t *testing.T) {
		w := newWorld(t, open)
		u := w.addUpstream("ghcr", settings)
		w.addGroup("chain", meta.Member{Upstream: "ghcr"})
		w.must(w.Store.DeleteTenant(t.Context(), cause(), "acme", 0, true))
		_, err := w.Store.CreateUpload(t.Context(), meta.Repo{Tenant: w.tenant, Registry: u.Cache, Name: "app"}, oci.SHA256)
		w.refused(err, fault.NotFound, fault.NameUnknown)
		w.consistent()
		w.collectAll()
		w.consistent()
		found, err := w.Store.ListUpstreams(t.Context(), w.tenant, meta.Page{Size: 9})
		if err != nil || len(found) != 0 {
			t.Errorf("left %v, %v", found, err)
		}
		top, err := w.Store.FindTopology(t.Context(), w.tenant)
		if err != nil || len(top.Registries)+len(top.Groups)+len(top.Upstreams) != 0 {
			t.Errorf("left %v, %v", top, err)
		}
	})
}

func (w world) addUpstream(slug string, s meta.UpstreamSettings) meta.Upstream {
	w.t.Helper()
	return w.addUpstreamOf(w.tenant, slug, s)
}

func (w world) addUpstreamOf(t tenant.ID, slug string, s meta.UpstreamSettings) meta.Upstream {
	w.t.Helper()
	u, err := w.Store.CreateUpstream(w.t.Context(), cause(), meta.Upstream{Tenant: t, Slug: slug, Settings: s})
	w.must(err)
	return u
}

func (w world) sameUpstream(got, want meta.Upstream) {
	w.t.Helper()
	for _, u := range []*meta.Upstream{&got, &want} {
		for _, at := range []*time.Time{&u.CreatedAt, &u.UpdatedAt, &u.Status.SucceededAt, &u.Status.FailedAt} {
			*at = at.UTC()
		}
	}
	if !reflect.DeepEqual(got, want) {
		w.t.Errorf("upstream is\n%+v, want\n%+v", got, want)
	}
}

// told fails the test unless the newest events are these, the newest first.
func (w world) told(want ...string) {
	w.t.Helper()
	var got []string
	for _, e := range w.events("", len(want)) {
		got = append(got, e.Verb+" "+e.Target)
	}
	if !slices.Equal(got, want) {
		w.t.Errorf("events\n%q\nwant\n%q", got, want)
	}
}
