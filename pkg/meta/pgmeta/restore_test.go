package pgmeta

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/blob/fsblob"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/tools/testserver"
)

// files are the bytes beside a metadata store.
type files struct {
	t     *testing.T
	store *fsblob.Store
}

func newFiles(t *testing.T) files {
	t.Helper()
	store, err := fsblob.Open(t.TempDir(), fsblob.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return files{t, store}
}

// content is what an upload reads.
type content struct{ *strings.Reader }

func (content) Mark() ([]byte, error) { return []byte("state"), nil }

// journal records an upload's progress in its session.
type journal struct {
	s *Store
	u *meta.Upload
}

func (j journal) Intend(ctx context.Context, k blob.Key) error {
	return j.s.IntendTail(ctx, *j.u, k.Incarnation)
}

func (j journal) Multipart(ctx context.Context, id string) error {
	return j.s.RecordMultipart(ctx, *j.u, id)
}

func (j journal) Step(ctx context.Context, p blob.Progress) error {
	u, err := j.s.AdvanceUpload(ctx, *j.u, p)
	if err == nil {
		*j.u = u
	}
	return err
}

// push pushes an image of one blob, with its bytes.
func (f files) push(s *Store, r meta.Repo, text string) {
	f.t.Helper()
	ctx := f.t.Context()
	u, err := s.CreateUpload(ctx, r, oci.SHA256)
	if err == nil {
		err = f.store.Append(ctx, u.Stage, content{strings.NewReader(text)}, journal{s, &u})
	}
	if err == nil {
		u, err = s.SealUpload(ctx, u, digestOf(text))
	}
	if err == nil {
		_, err = f.store.Seal(ctx, u.Stage)
	}
	if err == nil {
		_, err = s.CommitUpload(ctx, meta.Cause{Op: uuid.New()}, u, true)
	}
	if err == nil {
		err = s.PutManifest(ctx, imagePut(r, text, "t"+digestHex(text)))
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

// has says whether an image that was pushed can be pulled.
func (f files) has(s *Store, r meta.Repo, text string) bool {
	f.t.Helper()
	_, errTag := s.FindManifest(f.t.Context(), r, oci.Reference{Tag: "t" + digestHex(text)})
	b, err := s.FindBlob(f.t.Context(), r, digestOf(text))
	if err == nil {
		_, err = f.store.Stat(f.t.Context(), b.Key)
	}
	for _, err := range []error{errTag, err} {
		if err != nil && fault.KindOf(err) != fault.NotFound {
			f.t.Errorf("pulling %q: %v", text, err)
		}
	}
	return errTag == nil && err == nil
}

// deleteImage deletes an image and lets the janitor come by as if it were days
// later; only what the delay of deletions protects is still there.
func (f files) deleteImage(s *Store, r meta.Repo, text string) {
	f.t.Helper()
	ctx := f.t.Context()
	image := imagePut(r, text, "t"+digestHex(text)).Manifest.Digest
	if err := s.DeleteManifest(ctx, meta.ManifestDelete{Repo: r, Digest: image, By: meta.Cause{Op: uuid.New()}}); err != nil {
		f.t.Fatal(err)
	}
	mustRun(f.t, s, `UPDATE repo_blobs SET keep_until = berth_now() - interval '1 second' WHERE digest = $1`, digestOf(text).Bytes())
	unlinked, errUnlink := s.UnlinkBlobs(ctx, 100)
	mustRun(f.t, s, `UPDATE blobs SET keep_until = berth_now() - interval '1 second' WHERE digest = $1`, digestOf(text).Bytes())
	dropped, errDrop := s.DropBlobs(ctx, 100)
	if err := errors.Join(errUnlink, errDrop); err != nil || unlinked != 1 || dropped != 1 {
		f.t.Fatalf("%d unlinked, %d dropped, %v", unlinked, dropped, err)
	}
	f.collect(s)
	if f.has(s, r, text) {
		f.t.Errorf("%q is still there", text)
	}
}

// collect deletes the bytes that are due.
func (f files) collect(s *Store) {
	f.t.Helper()
	due, err := s.ClaimCondemned(f.t.Context(), 100)
	for _, c := range due {
		err = errors.Join(err, f.store.Delete(f.t.Context(), c.Key, c.Multipart), s.ForgetObject(f.t.Context(), c.Key))
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

// check is what fsck finds: live rows without their bytes, and bytes without a
// row.
func (f files) check(s *Store) (int, int) {
	f.t.Helper()
	ctx := f.t.Context()
	dangling, unknown := 0, 0
	var after blob.Key
	for {
		rows, err := s.ListObjects(ctx, after, 100)
		if err != nil {
			f.t.Fatal(err)
		}
		if len(rows) == 0 {
			break
		}
		for _, row := range rows {
			after = row.Key
			if row.Blob == "" {
				continue
			}
			if size, err := f.store.Stat(ctx, row.Key); err != nil || size != row.Size {
				dangling++
			}
		}
	}
	err := f.store.List(ctx, func(o blob.Stored) error {
		_, err := s.FindObject(ctx, o.Key)
		if fault.Is(err, fault.ResourceUnknown) {
			unknown++
			return nil
		}
		return err
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return dangling, unknown
}

// TestR27_RestoreFromABackup: images are pushed, deleted and collected after a
// backup was taken. The database that is restored from it points to no bytes
// that are gone, as long as it is restored within the delay of deletions.
func TestR27_RestoreFromABackup(t *testing.T) {
	t.Parallel() // it waits for a server of its own most of the time
	server := testserver.StartPostgres(t)
	s, r := onServer(t, server, Options{})
	f := newFiles(t)
	f.push(s, r, "config") // which filled had without bytes
	for i := range 10 {
		f.push(s, r, fmt.Sprintf("before %d", i))
	}
	backup := server.Copy()
	for i := range 10 {
		f.push(s, r, fmt.Sprintf("after %d", i))
	}
	for i := range 5 {
		f.deleteImage(s, r, fmt.Sprintf("before %d", i))
	}
	server.Kill()
	backup.Start()

	restored := open(t, Options{URL: asNode(backup.URL())})
	if found := findings(t, restored); len(found) != 0 {
		t.Errorf("findings: %q", found)
	}
	if dangling, unknown := f.check(restored); dangling != 0 || unknown != 10 {
		t.Errorf("fsck finds %d dangling rows, and %d objects of 10 that no row knows", dangling, unknown)
	}
	for i := range 10 {
		if !f.has(restored, r, fmt.Sprintf("before %d", i)) {
			t.Errorf("image %d of the backup is lost", i)
		}
	}
	f.push(restored, r, "after 0")
	if dangling, _ := f.check(restored); dangling != 0 {
		t.Errorf("%d dangling rows after a push", dangling)
	}
	// What the test relies on: a backup from before the delay would show it.
	b, err := restored.FindBlob(t.Context(), r, digestOf("before 0"))
	if err == nil {
		err = f.store.Delete(t.Context(), b.Key, "")
	}
	if dangling, _ := f.check(restored); err != nil || dangling != 1 {
		t.Errorf("%d dangling rows where bytes are gone, %v", dangling, err)
	}
}

// newer is what a step of the version after this one may do while this one's
// nodes are at work: the schema grows.
var newer = []string{
	`ALTER TABLE tags ADD COLUMN moved_at timestamptz`,
	`ALTER TABLE uploads ADD COLUMN node text NOT NULL DEFAULT ''`,
	`ALTER TABLE manifests ADD COLUMN pulled_at timestamptz DEFAULT now()`,
	`ALTER TABLE blobs ADD COLUMN verified_at timestamptz`,
	`ALTER TABLE repositories ADD COLUMN description text NOT NULL DEFAULT ''`,
	`CREATE TABLE labels (tenant_id bigint NOT NULL, name text NOT NULL, PRIMARY KEY (tenant_id, name))`,
	`CREATE INDEX events_by_time ON events (tenant_id, at)`,
	`INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, true)`,
}

// TestR54_NodesGoOnWhileTheSchemaGrows: the next version migrates while nodes
// of this one push. They continue; a node of this version that starts is refused.
func TestR54_NodesGoOnWhileTheSchemaGrows(t *testing.T) {
	s, r := filled(t, Options{})
	l := &ledger{t: t, s: s, r: r}
	end := l.begin(4)
	owner := connect(t, s.opts.URL)
	for _, step := range newer {
		l.more(5)
		if _, err := owner.Exec(t.Context(), step); err != nil {
			t.Error(err)
		}
	}
	l.more(20)
	end()
	if l.refused.Load() > 0 {
		t.Errorf("%d pushes were refused", l.refused.Load())
	}
	l.wantNothingLost()
	for name, call := range kinds(t, s, r) {
		if err := call(t.Context()); err != nil {
			t.Errorf("%s on a newer schema: %v", name, err)
		}
	}
	for what, start := range map[string]func() error{
		"migrate": func() error { return Migrate(t.Context(), s.opts.URL) },
		"open":    func() error { _, err := Open(t.Context(), Options{URL: s.opts.URL}); return err },
	} {
		if err := start(); err == nil || !strings.Contains(err.Error(), "newer than this program's") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestR54_NodesStartWhileAnotherMigrates: who holds the lock of migrations does
// not hinder a node that finds its schema.
func TestR54_NodesStartWhileAnotherMigrates(t *testing.T) {
	url := migrated(t)
	other := otherSession{connect(t, url)}
	other.exec(t, `SELECT pg_advisory_lock($1)`, migrationLock)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	s, err := Open(ctx, Options{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
