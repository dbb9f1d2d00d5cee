package metatest

import (
	"io/fs"
	"testing"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

func testMappings(t *testing.T, open Open) {
	t.Run("V99 are applied once to a group, until the provider or the tenant is gone", func(t *testing.T) {
		w := newWorld(t, open)
		w.must(w.SQL.Exec(`DROP TABLE mapped_groups; DROP TABLE mapping_made;`)) // as it was before an upgrade
		step, err := fs.ReadFile(w.SQL.Steps, "0041_mappings.sql")
		w.must(err)
		w.must(w.SQL.Exec(string(step)))
		corp, other := w.addProvider(meta.Deployment, "corp"), w.addProvider(w.tenant, "corp")
		second, _ := w.addTenant("second", 0)
		mapping := meta.Mapping{Pattern: "berth-(?P<name>.*)", Registry: "{name}", Group: "{name}"}
		here := meta.MappedGroup{Provider: corp, In: w.tenant, Mapping: mapping.Hash(), Group: "berth-web"}
		again := mapping
		again.Group = "{name}-dev"
		others := []meta.MappedGroup{here, here, here, here}
		others[0].In, others[1].Group, others[2].Mapping, others[3].Provider = second, "berth-app", again.Hash(), other
		w.mapped(here, false)
		w.must(w.Store.RecordMapped(t.Context(), cause(), here))
		w.must(w.Store.RecordMapped(t.Context(), cause(), here))
		w.mapped(here, true)
		for _, g := range others {
			w.mapped(g, false)
		}
		if e := w.events("", 1)[0]; e.Verb == "identityProvider.skip" {
			t.Errorf("%+v", e)
		}
		others[1].Skipped = "registry app exists already"
		w.must(w.Store.RecordMapped(t.Context(), cause(), others[1]))
		w.must(w.Store.RecordMapped(t.Context(), cause(), others[1])) // one event
		changes, err := meta.DecodeChanges(w.events("", 1)[0].Changes)
		if e := w.events("", 2); err != nil || e[0].Verb != "identityProvider.skip" || e[0].Target != "identityProviders/corp" || e[1].Verb == e[0].Verb || len(changes) != 1 || changes[0] != (meta.Change{Field: "group", Old: "berth-app", New: others[1].Skipped}) {
			t.Errorf("%+v, %+v, %v", e, changes, err)
		}
		w.must(w.Store.RecordMapped(t.Context(), cause(), others[3]))

		w.made(corp.ID, w.tenant, w.registry, false)
		w.must(w.Store.RecordMade(t.Context(), corp.ID, w.tenant, w.registry))
		w.must(w.Store.RecordMade(t.Context(), corp.ID, second, 0))
		w.made(corp.ID, w.tenant, w.registry, true)
		w.made(corp.ID, second, 0, true)
		w.made(corp.ID, w.tenant, 0, false)
		w.made(other.ID, w.tenant, w.registry, false)
		w.must(w.Store.DeleteIdentityProvider(t.Context(), cause(), meta.Deployment, "corp", 0))
		w.mapped(here, false)
		w.mapped(others[3], true)
		w.made(corp.ID, w.tenant, w.registry, false)
		w.must(w.Store.RecordMade(t.Context(), other.ID, w.tenant, w.registry))
		w.must(w.Store.DeleteTenant(t.Context(), cause(), "acme", 0, true))
		w.purge()
		w.mapped(others[3], false)
		w.made(other.ID, w.tenant, w.registry, false)
	})
}

func (w world) mapped(g meta.MappedGroup, want bool) {
	w.t.Helper()
	if got, err := w.Store.IsMapped(w.t.Context(), g); err != nil || got != want {
		w.t.Errorf("%s in %d: %t, %v", g.Group, g.In, got, err)
	}
}

func (w world) made(provider int64, t tenant.ID, r tenant.RegistryID, want bool) {
	w.t.Helper()
	if got, err := w.Store.WasMade(w.t.Context(), provider, t, r); err != nil || got != want {
		w.t.Errorf("registry %d of tenant %d: %t, %v", r, t, got, err)
	}
}
