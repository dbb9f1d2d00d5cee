package admin

import (
	"strings"
	"testing"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
)

const wholeSeed = `
tenants:
  - id: acme
    display_name: Acme
    quota_bytes: 10737418240
    registries:
      - id: main
        read_only: true
      - id: dev
        anonymous_pull: true
        missing_references: ALLOW
    domains:
      - id: registry.acme.example
        registry: dev
    service_accounts:
      - id: ci
        role: WRITER
        keys:
          - id: build
            secret_file: ci.secret
`

func TestParseSeed(t *testing.T) {
	s, err := parseSeed([]byte(wholeSeed))
	if err != nil {
		t.Fatal(err)
	}
	acme := s.Tenants[0]
	m := &pb.Tenant{}
	mask, err := acme.Fields.decode(m)
	if err != nil || acme.ID != "acme" || m.GetQuotaBytes() != 10<<30 || strings.Join(mask.GetPaths(), " ") != "display_name quota_bytes" {
		t.Errorf("tenant %q %v, mask %v, %v", acme.ID, m, mask, err)
	}
	r := &pb.Registry{}
	if _, err := acme.Registries[1].Fields.decode(r); err != nil || !r.GetAnonymousPull() || r.GetMissingReferences() != pb.Registry_ALLOW {
		t.Errorf("registry %v, %v", r, err)
	}
	if k := acme.ServiceAccounts[0].Keys[0]; k.ID != "build" || k.SecretFile != "ci.secret" {
		t.Errorf("key %+v", k)
	}
}

func TestParseSeedRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"unknown key":      "tenant: []",
		"unknown in a key": "tenants: [{id: a, service_accounts: [{id: b, keys: [{id: c, secret: d}]}]}]",
		"two documents":    "tenants: []\n---\ntenants: []",
		"not YAML":         "tenants: [",
		"wrong shape":      "tenants: acme",
		"too long":         "tenants: []" + strings.Repeat(" ", maxSeed),
	} {
		if _, err := parseSeed([]byte(text)); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestSeedRefusesUnknownFields(t *testing.T) {
	for _, field := range []string{"state", "etag", "name", "displayName", "quota"} {
		if _, err := (seedFields{field: "x"}).decode(&pb.Tenant{}); err == nil {
			t.Errorf("field %q: taken", field)
		}
	}
}

func FuzzParseSeed(f *testing.F) {
	f.Add([]byte(wholeSeed))
	f.Add([]byte(chainSeed))
	f.Add([]byte("tenants: [{id: 1, ? [a] : b}]"))
	f.Add([]byte("a: &a [*a]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := parseSeed(text)
		if err != nil {
			return
		}
		for _, tn := range s.Tenants {
			m := &pb.Tenant{}
			if mask, err := tn.Fields.decode(m); err == nil && len(mask.GetPaths()) != len(tn.Fields) {
				t.Errorf("%d fields, mask %v", len(tn.Fields), mask)
			}
		}
	})
}
