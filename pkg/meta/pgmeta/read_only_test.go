package pgmeta

import (
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/tools/testserver"
)

// What is opened to be read is read, and the server refuses every write.
func TestH1_ReadOnlyChangesNothing(t *testing.T) {
	url := migrated(t)
	s := open(t, Options{URL: url, ReadOnly: true})
	if err := s.CheckRows(t.Context(), func(f meta.Finding) { t.Error(f) }); err != nil {
		t.Error(err)
	}
	if _, err := s.ListObjects(t.Context(), blob.Key{}, 10); err != nil {
		t.Error(err)
	}
	if _, err := s.FindIdentity(t.Context()); !fault.Is(err, fault.ResourceUnknown) {
		t.Error(err)
	}
	if _, err := s.CreateTenant(t.Context(), meta.Cause{Op: uuid.New()}, meta.Tenant{Slug: "acme"}, tenant.Settings{}); err == nil {
		t.Error("a tenant was made")
	}
}

// What has not this program's schema is refused with a sentence, and stays as it
// is.
func TestReadOnlyRefusesAnotherSchema(t *testing.T) {
	empty, older := testserver.Postgres(t), migrated(t)
	c, err := pgx.Connect(t.Context(), older)
	if err == nil {
		_, err = c.Exec(t.Context(), `DELETE FROM goose_db_version WHERE version_id > 3`)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	for url, want := range map[string]string{
		empty: "meta: the database holds nothing of Berth",
		older: "meta: the database has schema version 3, older than this program's",
	} {
		for range 2 { // it is as it was
			if _, err := Open(t.Context(), Options{URL: url, ReadOnly: true}); err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("%v, want %q", err, want)
			}
		}
	}
}
