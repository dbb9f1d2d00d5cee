package admin

import (
	"errors"
	"strings"
	"testing"
)

const danglingSeed = `
tenants:
  - id: acme
    registries:
      - id: dev
        upstream_group: chian
        mirror_upstreams: [ghcr, quay]
    upstreams:
      - id: ghcr
        url: https://ghcr.io
    upstream_groups:
      - id: chain
        members: [{registry: prodd}, {upstream: gcr}, {registry: main}]
    domains:
      - id: registry.acme.example
        registry: staging
`

// TestSeedReferencesAreTold by the check as notes, and by a start that fails.
func TestSeedReferencesAreTold(t *testing.T) {
	file := writeSeed(t, danglingSeed, nil)
	places := []string{
		`:6: tenants[0].registries[0].upstream_group: upstream group "chian"`,
		`:7: tenants[0].registries[0].mirror_upstreams[1]: upstream "quay"`,
		`:13: tenants[0].upstream_groups[0].members[0].registry: registry "prodd"`,
		`:13: tenants[0].upstream_groups[0].members[1].upstream: upstream "gcr"`,
		`:16: tenants[0].domains[0].registry: registry "staging"`,
	}
	a := newAPI(t)
	wrong, elsewhere := CheckSeed(t.Context(), file, SeedCheck{Pattern: a.service.pattern, Secrets: a.service.secrets, CheckAddress: silent{}.CheckAddress})
	if len(wrong) > 0 || len(elsewhere) != len(places) {
		t.Fatalf("wrong: %v, elsewhere: %v", errors.Join(wrong...), errors.Join(elsewhere...))
	}
	for i, place := range places {
		if got := elsewhere[i].Error(); got != file+place+" is not in this file; a start fails unless the tenant has it already" {
			t.Errorf("%s, want %s", got, place)
		}
	}
	err := a.service.Apply(t.Context(), file)
	if err == nil || strings.Count(err.Error(), file) != len(places) {
		t.Fatalf("applied: %v", err)
	}
	for _, place := range places {
		at, named, _ := strings.Cut(strings.TrimPrefix(place, ":"), ": ")
		path, named, _ := strings.Cut(named, ": ")
		if want := file + ":" + at + ": " + path + ": " + named + " not found"; !strings.Contains(err.Error(), want) {
			t.Errorf("no %s in %v", want, err)
		}
	}
	// What the tenant has already may be named.
	for _, c := range [][2]string{
		{"registries?registry_id=prodd", `{}`},
		{"registries?registry_id=staging", `{}`},
		{"upstreams?upstream_id=gcr", `{"url": "https://gcr.io"}`},
		{"upstreams?upstream_id=quay", `{"url": "https://quay.io"}`},
		{"upstreamGroups?upstream_group_id=chian", `{"members": [{"upstream": "gcr"}]}`},
	} {
		a.call(200, "POST", "/v1/tenants/acme/"+c[0], c[1])
	}
	if err := a.service.Apply(t.Context(), file); err != nil {
		t.Error(err)
	}
}

const partialSeed = `
tenants:
  - id: acme
    upstreams:
      - id: ghcr
        tag_ttl: 5m
      - id: quay
        password_file: password
    service_accounts:
      - id: ci
        disabled: true
`

// TestAPartialResourceIsNotWrong where the tenant may have the rest of it.
func TestAPartialResourceIsNotWrong(t *testing.T) {
	file := writeSeed(t, partialSeed, map[string]string{"password": "hunter2"})
	a := newAPI(t)
	wrong, elsewhere := CheckSeed(t.Context(), file, SeedCheck{Pattern: a.service.pattern, Secrets: a.service.secrets, CheckAddress: silent{}.CheckAddress})
	if len(wrong) > 0 || len(elsewhere) != 3 {
		t.Fatalf("wrong: %v, elsewhere: %v", errors.Join(wrong...), errors.Join(elsewhere...))
	}
	for i, want := range []string{
		`:5: tenants[0].upstreams[0].url: upstream "ghcr" has no url in this file; a start fails unless the tenant has it already`,
		`:7: tenants[0].upstreams[1].url: upstream "quay" has no url in this file; a start fails unless the tenant has it already`,
		`:10: tenants[0].service_accounts[0].role: service account "ci" has no role in this file; a start fails unless the tenant has it already`,
	} {
		if got := elsewhere[i].Error(); got != file+want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	err := a.service.Apply(t.Context(), file)
	if err == nil || strings.Count(err.Error(), file) != 3 || !strings.Contains(err.Error(), `service account "ci" not found in this tenant`) {
		t.Errorf("applied to a tenant without them: %v", err)
	}
	for _, c := range [][2]string{
		{"upstreams?upstream_id=ghcr", `{"url": "https://ghcr.io"}`},
		{"upstreams?upstream_id=quay", `{"url": "https://quay.io", "username": "bot"}`},
		{"serviceAccounts?service_account_id=ci", `{"role": "WRITER"}`},
	} {
		a.call(200, "POST", "/v1/tenants/acme/"+c[0], c[1])
	}
	if err := a.service.Apply(t.Context(), file); err != nil {
		t.Error(err)
	}
	if got := a.call(200, "GET", "/v1/tenants/acme/serviceAccounts/ci", ""); got["role"] != "WRITER" || got["disabled"] != true {
		t.Errorf("account %v", got)
	}
}
