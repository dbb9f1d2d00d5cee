package people

import (
	"testing"

	"github.com/berth-registry/berth/pkg/meta"
)

func TestV113_ClientsOfProvidersThatAreGoneAreClosed(t *testing.T) {
	w := newWorld(t)
	w.must(w.DeletePrincipalGroup(t.Context(), by(), w.tenant, "dev", 0))
	gone := []func(p meta.IdentityProvider) error{
		func(p meta.IdentityProvider) error {
			return w.DeleteIdentityProvider(t.Context(), by(), p.Tenant, p.Slug, 0)
		},
		func(p meta.IdentityProvider) error {
			p.Disabled = true
			_, err := w.UpdateIdentityProvider(t.Context(), by(), p)
			return err
		},
	}
	for i, owner := range []meta.IdentityProvider{{Tenant: meta.Deployment}, {Tenant: w.tenant}} {
		p, d := w.addProvider(owner.Tenant, "short")
		w.people.directories.Clear()
		w.refused("stranger", "secret")
		asked := d.count()
		w.must(gone[i](p))
		w.people.directories.Clear()
		w.refused("stranger", "secret")
		if d.closed != 1 || asked != 1 || d.count() != asked {
			t.Errorf("%s: closed %d times, asked %d times and %d later", p.Name(), d.closed, asked, d.count())
		}
	}
	if w.corp.closed != 0 || w.people.directories.clients.Len() != 1 {
		t.Errorf("corp was closed %d times, %d clients are open", w.corp.closed, w.people.directories.clients.Len())
	}
}
