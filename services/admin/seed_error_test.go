package admin

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/seal"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/pkg/upstream"
)

const wrongSeed = `
tenants:
  - id: acme
    quota_bytes: 10 gigs
    registries:
      - id: dev
        anonymous_pull: perhaps
      - id: dev
    upstreams:
      - id: inside
        url: https://10.0.0.1
      - id: ghcr
        url: https://ghcr.io
        tag_ttl: 5m
        max_bytes: 10GiB
        include:
          - team/**
          - "[a"
      - id: secret
        url: https://quay.io
        username: bot
        password_file: none
    upstream_groups:
      - id: chain
        members:
          - {registry: dev}
          - {on_outage: STOP}
    domains:
      - id: https://x
        registry: dev
    service_accounts:
      - id: ci
        role: OWNER
      - id: bot
        role: READER
        keys:
          - id: build
            secret_file: short
  - display_name: Nameless
`

// TestN12_SeedErrorsHaveFileAndLine: the check finds all of them, and so does the start.
func TestN12_SeedErrorsHaveFileAndLine(t *testing.T) {
	file := writeSeed(t, wrongSeed, map[string]string{"short": "hunter2"})
	pattern, err := tenant.NewPattern(tenant.DotPattern, "localhost")
	if err != nil {
		t.Fatal(err)
	}
	secrets, err := seal.New([]byte("the secret key of the tests"))
	if err != nil {
		t.Fatal(err)
	}
	check := SeedCheck{Pattern: pattern, Secrets: secrets, CheckAddress: func(ctx context.Context, tenantSlug, proxy, url string) error {
		if strings.Contains(url, "10.0.0.1") {
			return upstream.New(upstream.Options{}).CheckAddress(ctx, tenantSlug, proxy, url)
		}
		return nil
	}}
	want := []string{
		`:4: tenants[0].quota_bytes: "10 gigs" is not a number of bytes`,
		`:8: tenants[0].registries[1].id: "dev" is there twice`,
		`:7: tenants[0].registries[0].anonymous_pull: "perhaps" is neither true nor false`,
		`:27: tenants[0].upstream_groups[0].members[1]: a member has either registry or upstream`,
		`:11: tenants[0].upstreams[0].url: "https://10.0.0.1" is refused by configuration`,
		`:18: tenants[0].upstreams[1].include[1]: "[a" is not a valid name pattern`,
		`:22: tenants[0].upstreams[2].password_file: the secret file cannot be read: open`,
		`:29: tenants[0].domains[0].id: "https://x" is not a host name`,
		`:33: tenants[0].service_accounts[0].role: "OWNER" is not one of READER, WRITER, ADMIN`,
		`:38: tenants[0].service_accounts[1].keys[0].secret_file: the secret in short has 7 characters`,
		`:39: tenants[1].id: it is missing`,
	}
	got, _ := CheckSeed(t.Context(), file, check)
	if len(got) != len(want) {
		t.Errorf("%d errors: %v", len(got), errors.Join(got...))
	}
	for i := range min(len(got), len(want)) {
		if text := got[i].Error(); !strings.HasPrefix(text, file+want[i]) || strings.Contains(text, "hunter2") {
			t.Errorf("%s, want %s", text, want[i])
		}
	}
	a := newAPI(t)
	if err := a.service.Apply(t.Context(), file); err == nil || !strings.HasPrefix(err.Error(), file+want[0]) {
		t.Errorf("applied: %v", err)
	} else if n := strings.Count(err.Error(), file); n != len(want)-1 { // the tests' service takes any address
		t.Errorf("applied: %d mistakes of %d are told: %v", n, len(want)-1, err)
	}
	for text, want := range map[string]string{
		"tenants:\n  - id: acme\n    keys: {}\ntenant: []": `:4: unknown key "tenant"`,
		"tenants:\n  - id: [acme]":                         `:2: cannot unmarshal`,
		"tenants:\n  - id: 'acme":                          `:2: `,
	} {
		file := writeSeed(t, text, nil)
		if err := a.service.Apply(t.Context(), file); err == nil || !strings.HasPrefix(err.Error(), file+want) {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, good := range []string{wholeSeed, chainSeed} {
		file := writeSeed(t, good, map[string]string{"ci.secret": seedSecret, "ghcr.password": "x"})
		if got, elsewhere := CheckSeed(t.Context(), file, check); len(got) > 0 || len(elsewhere) > 0 {
			t.Errorf("a good seed: %v %v", got, elsewhere)
		}
	}
}
