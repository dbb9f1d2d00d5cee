package pgmeta

import (
	"errors"
	"testing"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

// TestL6_NothingIsAcknowledgedInARegistryThatCloses closes the registry after a
// change has found its repository and before it has done anything there: the
// change is refused, or is there once the registry is open again.
func TestL6_NothingIsAcknowledgedInARegistryThatCloses(t *testing.T) {
	config := oci.DigestOf(oci.SHA256, []byte("config"))
	loose := oci.DigestOf(oci.SHA256, []byte("loose"))
	for name, change := range map[string]struct {
		run  func(s *Store, r meta.Repo, by meta.Cause) error
		done func(s *Store, r meta.Repo) error // nil where the change is there
	}{
		"a manifest is put": {
			func(s *Store, r meta.Repo, by meta.Cause) error {
				put := imagePut(r, "config", "v2")
				put.By = by
				return s.PutManifest(t.Context(), put)
			},
			func(s *Store, r meta.Repo) error {
				_, err := s.FindManifest(t.Context(), r, oci.Reference{Tag: "v2"})
				return err
			},
		},
		"a blob is mounted": {
			func(s *Store, r meta.Repo, by meta.Cause) error {
				from := r
				from.Name = "source"
				_, err := s.MountBlob(t.Context(), by, from, r, loose)
				return err
			},
			func(s *Store, r meta.Repo) error {
				_, err := s.FindBlob(t.Context(), r, loose)
				return err
			},
		},
		"blobs are adopted": {
			func(s *Store, r meta.Repo, by meta.Cause) error {
				from := r
				from.Name = "source"
				missing, err := s.AdoptBlobs(t.Context(), by, []meta.Repo{from}, r, []oci.Digest{loose})
				if err == nil && len(missing) > 0 {
					return fault.New(fault.NotFound, fault.ManifestBlobUnknown, "missing")
				}
				return err
			},
			func(s *Store, r meta.Repo) error {
				events, err := s.ListEvents(t.Context(), r.Tenant, meta.Page{Size: 100})
				if err != nil {
					return err
				}
				for _, e := range events {
					if e.Verb == "blob.mount" {
						_, err := s.FindBlob(t.Context(), r, loose)
						return err
					}
				}
				return errors.New("the audit log does not tell of it")
			},
		},
		"a tag is deleted": {
			func(s *Store, r meta.Repo, by meta.Cause) error { return s.DeleteTag(t.Context(), by, r, "v1") },
			func(s *Store, r meta.Repo) error {
				_, err := s.FindManifest(t.Context(), r, oci.Reference{Tag: "v1"})
				return gone(err)
			},
		},
		"a manifest is deleted": {
			func(s *Store, r meta.Repo, by meta.Cause) error {
				return s.DeleteManifest(t.Context(), meta.ManifestDelete{Repo: r, Digest: imagePut(r, "config", "v1").Manifest.Digest, By: by})
			},
			func(s *Store, r meta.Repo) error {
				_, err := s.FindManifest(t.Context(), r, oci.Reference{Tag: "v1"})
				return gone(err)
			},
		},
		"a blob is deleted": {
			func(s *Store, r meta.Repo, by meta.Cause) error {
				r.Name = "source"
				return s.DeleteBlob(t.Context(), by, r, loose)
			},
			func(s *Store, r meta.Repo) error {
				r.Name = "source"
				_, err := s.FindBlob(t.Context(), r, loose)
				return gone(err)
			},
		},
		"a repository is deleted": {
			func(s *Store, r meta.Repo, by meta.Cause) error { return s.DeleteRepository(t.Context(), by, r) },
			func(s *Store, r meta.Repo) error {
				_, err := s.FindBlob(t.Context(), r, config)
				return gone(err)
			},
		},
	} {
		for _, closing := range []string{"registry", "tenant"} {
			t.Run(name+", the "+closing+" closes", func(t *testing.T) {
				s, r := filled(t, Options{})
				pushBlob(t, s, r, "config")
				source := r
				source.Name = "source"
				pushBlob(t, s, source, "loose")
				closed, opened := shut(t, s, r.Tenant, closing)

				other := otherSession{connect(t, s.opts.URL)}
				other.exec(t, `BEGIN`)
				other.exec(t, `SELECT 1 FROM repositories FOR UPDATE`)
				err := make(chan error)
				go func() { err <- change.run(s, r, meta.Cause{Op: uuid.New()}) }()
				other.waitBlocked(t, 1)
				closed()
				other.exec(t, `COMMIT`)
				answer := <-err
				opened()
				if done := change.done(s, r); answer == nil && done != nil {
					t.Errorf("acknowledged, and it is not so: %v", done)
				}
				if answer != nil && fault.KindOf(answer) != fault.NotFound {
					t.Errorf("refused with %v", answer)
				}
				if found := findings(t, s); len(found) != 0 {
					t.Errorf("findings: %q", found)
				}
			})
		}
	}
}

// gone turns what a look for something deleted says into an error where it is there.
func gone(err error) error {
	if fault.KindOf(err) == fault.NotFound {
		return nil
	}
	if err == nil {
		err = errors.New("it is still there")
	}
	return err
}

// shut returns what closes a registry, or its tenant, and opens it again.
func shut(t *testing.T, s *Store, id tenant.ID, which string) (func(), func()) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	holder, err := s.FindTenantByID(t.Context(), id)
	must(err)
	if which == "tenant" {
		set := func(state tenant.State) {
			now, err := s.FindTenant(t.Context(), holder.Slug)
			must(err)
			now.State = state
			_, err = s.UpdateTenant(t.Context(), meta.Cause{Op: uuid.New()}, now)
			must(err)
		}
		return func() { set(tenant.Suspended) }, func() { set(tenant.Active) }
	}
	return func() {
			must(s.DeleteRegistry(t.Context(), meta.Cause{Op: uuid.New()}, id, tenant.MainRegistry, 0, true))
		}, func() {
			_, err := s.UndeleteRegistry(t.Context(), meta.Cause{Op: uuid.New()}, id, tenant.MainRegistry, 0)
			must(err)
		}
}
