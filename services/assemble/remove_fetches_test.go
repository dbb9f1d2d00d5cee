package assemble

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/ingest"
	"github.com/berth-registry/berth/services/janitor"
)

// killed is a source whose process ends before the bytes are recorded.
type killed struct{ io.Reader }

func (killed) Mark() ([]byte, error) { return nil, errors.New("the process was killed") }

// TestT71_AStartRemovesUnfinishedFetches: a killed process left files that no row counts.
// Sessions of pushes stay.
func TestT71_AStartRemovesUnfinishedFetches(t *testing.T) {
	m, blobs := storesIn(t, t.TempDir())
	by := func() meta.Cause { return meta.Cause{Op: uuid.New()} }
	who, err := m.CreateTenant(t.Context(), by(), meta.Tenant{Slug: "acme"}, tenant.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	up, err := m.CreateUpstream(t.Context(), by(), meta.Upstream{Tenant: who.ID, Slug: "hub"})
	if err != nil {
		t.Fatal(err)
	}
	main, err := m.FindRegistry(t.Context(), who.ID, "main")
	if err != nil {
		t.Fatal(err)
	}
	begin := func(r tenant.RegistryID) meta.Upload {
		u, err := m.CreateUpload(t.Context(), meta.Repo{Tenant: who.ID, Registry: r, Name: "app"}, oci.SHA256)
		if err != nil {
			t.Fatal(err)
		}
		src := killed{io.MultiReader(strings.NewReader(strings.Repeat("x", 1<<20)))}
		if err := blobs.Append(t.Context(), ingest.StageOf(u), src, ingest.NewJournal(m, u)); err == nil {
			t.Fatal("the bytes were recorded")
		}
		return u
	}
	fetch, push := begin(up.Cache), begin(main.ID)
	if err := (stores{meta: m, blobs: blobs}).removeFetches(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := m.FindUpload(t.Context(), fetch.Repo, fetch.ID); !fault.Is(err, fault.BlobUploadUnknown) {
		t.Errorf("the fetch: %v", err)
	}
	if _, err := blobs.Stat(t.Context(), fetch.Stage.Key); !errors.Is(err, blob.ErrMissing) {
		t.Errorf("its file: %v", err)
	}
	if _, err := m.FindUpload(t.Context(), push.Repo, push.ID); err != nil {
		t.Errorf("the push: %v", err)
	}
	if _, err := blobs.Stat(t.Context(), push.Stage.Key); err != nil {
		t.Errorf("its file: %v", err)
	}
	j := janitor.New(janitor.Config{Meta: m, Blobs: blobs, Log: slog.New(slog.DiscardHandler)})
	if err := j.Pass(context.Background()); err != nil {
		t.Fatal(err)
	}
	if _, err := m.FindObject(t.Context(), fetch.Stage.Key); err == nil {
		t.Error("its row is left")
	}
}
