package admin

import (
	"slices"
	"strings"
	"testing"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/fault"
)

func TestSplitName(t *testing.T) {
	registry := []string{"tenants", "registries"}
	repository := []string{"tenants", "registries", "repositories"}
	for _, tc := range []struct {
		name        string
		collections []string
		want        []string // nil: refused
	}{
		{"tenants/acme/registries/dev", registry, []string{"acme", "dev"}},
		{"tenants/acme/registries/dev/repositories/team/app", repository, []string{"acme", "dev", "team/app"}},
		{"tenants/acme/registries/dev/repositories/tags", repository, []string{"acme", "dev", "tags"}},
		{"", registry, nil},
		{"tenants", registry, nil},
		{"tenants/acme", registry, nil},
		{"tenants/acme/registries", registry, nil},
		{"tenants/acme/registries/", registry, nil},
		{"tenants//registries/dev", registry, nil},
		{"tenants/acme/registries/dev/", registry, nil},
		{"tenants/acme/registries/dev/x", registry, nil},
		{"/tenants/acme/registries/dev", registry, nil},
		{"tenants/acme/domains/dev", registry, nil},
		{"tenants/acme/registries/dev/repositories/", repository, nil},
		{"tenants/acme/registries/dev/repositories", repository, nil},
	} {
		got, err := splitName("name", tc.name, tc.collections...)
		if tc.want == nil {
			if f := fault.From(err); f == nil || f.Kind != fault.Invalid || f.Field != "name" {
				t.Errorf("splitName(%q) = %v, %v; want a violation", tc.name, got, err)
			}
			continue
		}
		if err != nil || !slices.Equal(got, tc.want) {
			t.Errorf("splitName(%q) = %v, %v; want %v", tc.name, got, err, tc.want)
		}
	}
}

func TestTenantOfAgreesWithSplitName(t *testing.T) {
	for _, name := range []string{"tenants/acme", "tenants/acme/registries/dev", "tenants/a/b", "tenants//x", "tenant/acme", "tenants", ""} {
		slug, ok := tenantOf(&pb.GetTenantRequest{Name: name})
		if ids, err := splitName("name", name, "tenants"); err == nil && (!ok || ids[0] != slug) {
			t.Errorf("%q: access looks at tenant %q (%v), the service at %q", name, slug, ok, ids[0])
		}
	}
}

func FuzzSplitName(f *testing.F) {
	for _, seed := range []string{"tenants/acme/registries/dev/repositories/a/b", "tenants/a/registries/b/repositories/", "//", "tenants/\x00/registries/é/repositories/x"} {
		f.Add(seed)
	}
	collections := []string{"tenants", "registries", "repositories"}
	f.Fuzz(func(t *testing.T, name string) {
		ids, err := splitName("name", name, collections...)
		if err != nil {
			return
		}
		joined := "tenants/" + ids[0] + "/registries/" + ids[1] + "/repositories/" + ids[2]
		if joined != name || strings.Contains(ids[0]+ids[1], "/") {
			t.Errorf("%q became %q", name, ids)
		}
		if slug, ok := tenantOf(&pb.GetTenantRequest{Name: name}); !ok || slug != ids[0] {
			t.Errorf("%q: access looks at tenant %q", name, slug)
		}
	})
}
