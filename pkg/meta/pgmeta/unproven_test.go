package pgmeta

import (
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/migrations"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
)

// TestS72_LinksThatProveNothingAreGivenUp runs the step of the schema that does,
// on links as the version before made them.
func TestS72_LinksThatProveNothingAreGivenUp(t *testing.T) {
	s, hosted := filled(t, Options{URL: migrated(t)})
	cacheOf := func(slug string) meta.Repo {
		u, err := s.CreateUpstream(t.Context(), meta.Cause{Op: uuid.New()}, meta.Upstream{Tenant: hosted.Tenant, Slug: slug})
		if err != nil {
			t.Fatal(err)
		}
		return meta.Repo{Tenant: hosted.Tenant, Registry: u.Cache, Name: "app"}
	}
	ghcr, quay := cacheOf("ghcr"), cacheOf("quay")
	second := meta.Repo{Tenant: ghcr.Tenant, Registry: ghcr.Registry, Name: "second"}
	secret := pushBlob(t, s, hosted, "secret")
	sent := pushBlob(t, s, quay, "sent by quay")
	own := pushBlob(t, s, ghcr, "sent by ghcr")
	for _, l := range []struct {
		to meta.Repo
		b  meta.Blob
	}{{ghcr, secret}, {ghcr, sent}, {second, own}} {
		if _, err := s.LinkBlob(t.Context(), l.to, l.b.Digest); err != nil {
			t.Fatal(err)
		}
	}
	text, err := migrations.Postgres.ReadFile("postgres/0014_rights.sql")
	if err != nil {
		t.Fatal(err)
	}
	_, step, _ := strings.Cut(string(text), "WITH unproven")
	step, _, _ = strings.Cut(step, "-- The default")
	mustRun(t, s, "WITH unproven"+step)
	for _, c := range []struct {
		r    meta.Repo
		b    meta.Blob
		kept bool
	}{{ghcr, secret, false}, {ghcr, sent, false}, {quay, sent, false}, {ghcr, own, true}, {second, own, true}, {hosted, secret, true}} {
		_, err := s.FindBlob(t.Context(), c.r, c.b.Digest)
		if kept := err == nil; kept != c.kept || !kept && !fault.Is(err, fault.BlobUnknown) {
			t.Errorf("%+v holds %s: %v, want %t", c.r, c.b.Digest, err, c.kept)
		}
	}
	if found := findings(t, s); len(found) != 0 {
		t.Errorf("findings after it: %q", found)
	}
}
