package metatest

import (
	"slices"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

func testAudit(t *testing.T, open Open) {
	t.Run("U80 say for whom and by which client", func(t *testing.T) {
		w := newWorld(t, open)
		by := cause()
		by.OnBehalf, by.UserAgent, by.Changes = "tenants/acme", "curl/8", []meta.Change{{Field: "role", New: "READER"}}
		_, err := w.Store.CreateAccount(t.Context(), by, meta.Account{Tenant: w.tenant, Slug: "ci", Role: access.Reader})
		w.must(err)
		if e := w.events("", 1)[0]; e.OnBehalf != by.OnBehalf || e.UserAgent != by.UserAgent || e.Changes != meta.EncodeChanges(by.Changes) {
			t.Errorf("%+v", e)
		}
		r := w.repo("app")
		w.pushTagged(r, "a", "v1")
		by = cause()
		by.OnBehalf, by.UserAgent, by.Changes = "tenants/acme", "curl/8", []meta.Change{{Field: "name", Old: "app"}}
		w.must(w.Store.DeleteRepository(t.Context(), by, r))
		if e := w.events("", 1)[0]; e.OnBehalf != by.OnBehalf || e.UserAgent != by.UserAgent || e.Changes != meta.EncodeChanges(by.Changes) {
			t.Errorf("%+v", e)
		}
	})
	t.Run("U82 say from where to where a tag moved", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		changes := func() []meta.Change {
			got, err := meta.DecodeChanges(w.events("", 1)[0].Changes)
			w.must(err)
			return got
		}
		first := w.pushTagged(r, "first", "v1", "latest")
		if got := changes(); len(got) != 0 {
			t.Errorf("new tags moved: %+v", got)
		}
		second := w.pushTagged(r, "second", "latest", "v2")
		if got, want := changes(), []meta.Change{{Field: "tag latest", Old: first.String(), New: second.String()}}; !slices.Equal(got, want) {
			t.Errorf("%+v, want %+v", got, want)
		}
		w.pushTagged(r, "second", "latest")
		if got := changes(); len(got) != 0 {
			t.Errorf("a tag that stays moved: %+v", got)
		}
		w.must(w.Store.DeleteTag(t.Context(), cause(), r, "latest"))
		if got, want := changes(), []meta.Change{{Field: "tag latest", Old: second.String()}}; !slices.Equal(got, want) {
			t.Errorf("%+v, want %+v", got, want)
		}
	})
	t.Run("U120 name the tags that went with a manifest", func(t *testing.T) { testGoneTags(t, open) })
	t.Run("U81 are the deployment's own where no tenant's", func(t *testing.T) { testDeploymentLog(t, open) })
	t.Run("U85 wait for a sink until they are sent", func(t *testing.T) { testPendingEvents(t, open) })
}

func testDeploymentLog(t *testing.T, open Open) {
	w := newWorld(t, open)
	ctx := t.Context()
	w.addAccount("ci", access.Reader)
	by := cause()
	by.OnBehalf = "tenants/acme"
	_, err := w.Store.UpdateTenant(ctx, by, w.acme())
	w.must(err)
	w.must(w.Store.RecordEvent(ctx, cause(), meta.BackupCreated, "backups/1"))
	w.must(w.Store.RecordRefusals(ctx, map[meta.Refusal]int64{{Login: true, Actor: "(unknown)", UserAgent: "curl/8", Minute: w.Now()}: 3}))
	var got []string
	events, err := w.Store.ListEvents(ctx, meta.Deployment, meta.Page{Size: 10})
	w.must(err)
	for _, e := range events {
		got = append(got, e.Verb+" "+e.Target)
		if e.OnBehalf != "" || e.Tenant != meta.Deployment {
			t.Errorf("%+v", e)
		}
	}
	if want := []string{"login.fail ", "backup.create backups/1", "tenant.update tenants/acme", "tenant.create tenants/acme"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if e := w.events("", 1)[0]; e.Verb != "tenant.update" { // and the tenant's
		t.Errorf("%+v", e)
	}
	w.Advance(meta.DefaultLifetimes.Events + time.Hour)
	_, err = w.Store.TrimEvents(ctx, 100)
	w.must(err)
	if events, err = w.Store.ListEvents(ctx, meta.Deployment, meta.Page{Size: 10}); err != nil || len(events) != 0 {
		t.Errorf("%+v are kept for good, %v", events, err)
	}
}

func testPendingEvents(t *testing.T, open Open) {
	w := newWorld(t, open)
	ctx := t.Context()
	verbs := func(limit int) ([]meta.PendingEvent, []string) {
		pending, err := w.Store.PendingEvents(ctx, limit)
		w.must(err)
		var got []string
		for _, e := range pending {
			got = append(got, e.TenantSlug+" "+e.Verb)
		}
		return pending, got
	}
	w.addAccount("before", access.Reader)
	if _, got := verbs(10); len(got) != 0 {
		t.Errorf("%q wait for no sink", got)
	}
	w.must(w.Store.KeepForSink(ctx, time.Hour))
	w.addAccount("ci", access.Reader)
	r := w.repo("app")
	w.pushTagged(r, "a", "v1")
	w.must(w.Store.RecordEvent(ctx, cause(), meta.BackupCreated, "backups/1"))
	refused := meta.Refusal{Tenant: w.tenant, Login: true, Actor: "ci", Minute: w.Now()}
	w.must(w.Store.RecordRefusals(ctx, map[meta.Refusal]int64{refused: 1}))
	all, got := verbs(10)
	if want := []string{"acme serviceAccount.create", "acme blob.push", "acme manifest.put", " backup.create", "acme login.fail"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if _, got := verbs(2); len(got) != 2 {
		t.Errorf("%q are two", got)
	}
	w.must(w.Store.RecordRefusals(ctx, map[meta.Refusal]int64{refused: 1})) // counted on since it was read
	w.must(w.Store.MarkSent(ctx, all))
	if left, got := verbs(10); !slices.Equal(got, []string{"acme login.fail"}) || left[0].Times != 2 {
		t.Errorf("%q are left", got)
	}
	w.Advance(2 * time.Hour)
	w.addAccount("after", access.Reader)
	if _, got := verbs(10); len(got) != 1 {
		t.Errorf("%q wait for a sink that is gone", got)
	}
}

// pushTagged pushes a manifest of one blob with tags.
func (w world) pushTagged(r meta.Repo, content string, tags ...string) oci.Digest {
	w.t.Helper()
	return w.put(r, w.image(nil, w.push(r, content)), tags...).Digest
}
