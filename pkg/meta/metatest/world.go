package metatest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	imagespec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/pkg/tenant"
)

// world is a store with one tenant, and shorthands that fail the test.
type world struct {
	Harness
	t        testing.TB
	tenant   tenant.ID
	registry tenant.RegistryID
	deleted  func(blob.Key) // is told of each object that is deleted; may be nil
}

func newWorld(t testing.TB, open Open) world { return newWorldWith(t, open, Options{}) }

func newWorldWith(t testing.TB, open Open, o Options) world {
	t.Helper()
	w := world{Harness: open(t, o), t: t}
	w.tenant, w.registry = w.addTenant("acme", 0)
	return w
}

// addTenant makes a tenant and says where its main registry is.
func (w world) addTenant(slug string, quota int64) (tenant.ID, tenant.RegistryID) {
	w.t.Helper()
	ctx := w.t.Context()
	made, err := w.Store.CreateTenant(ctx, cause(), meta.Tenant{Slug: slug, Quota: quota}, tenant.Settings{})
	w.must(err)
	main, err := w.Store.FindRegistry(ctx, made.ID, tenant.MainRegistry)
	w.must(err)
	return made.ID, main.ID
}

// room is a quota for so many bytes in so many repositories and blobs.
func room(bytes, repositories, blobs int) int64 {
	return int64(bytes + repositories*meta.RepositoryCost + blobs*meta.BlobCost)
}

func cause() meta.Cause {
	return meta.Cause{Op: uuid.New(), Actor: "serviceAccounts/ci", RequestID: "r"}
}

func (w world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// refused fails the test unless err has the kind and reason.
func (w world) refused(err error, k fault.Kind, r fault.Reason) {
	w.t.Helper()
	if !fault.Is(err, r) || fault.KindOf(err) != k {
		w.t.Fatalf("got %v, want %s (%s)", err, r, k)
	}
}

func (w world) repo(name string) meta.Repo {
	return meta.Repo{Tenant: w.tenant, Registry: w.registry, Name: name}
}

func digestOf(content string) oci.Digest { return oci.DigestOf(oci.SHA256, []byte(content)) }

// stage makes a session that holds content, ready to be sealed.
func (w world) stage(r meta.Repo, content string) meta.Upload {
	w.t.Helper()
	u, err := w.tryStage(r, content)
	w.must(err)
	return u
}

func (w world) tryStage(r meta.Repo, content string) (meta.Upload, error) {
	ctx := w.t.Context()
	u, err := w.Store.CreateUpload(ctx, r, oci.SHA256)
	if err != nil {
		return u, err
	}
	if u, err = w.Store.TakeUpload(ctx, r, u.ID, 0); err != nil {
		return u, err
	}
	return w.Store.AdvanceUpload(ctx, u, blob.Progress{Offset: int64(len(content)), State: []byte("hash")})
}

// push commits a blob.
func (w world) push(r meta.Repo, content string) meta.Blob {
	w.t.Helper()
	b, err := w.tryPush(r, content)
	w.must(err)
	return b
}

func (w world) tryPush(r meta.Repo, content string) (meta.Blob, error) {
	u, err := w.tryStage(r, content)
	if err != nil {
		return meta.Blob{}, err
	}
	if u, err = w.Store.SealUpload(w.t.Context(), u, digestOf(content)); err != nil {
		return meta.Blob{}, err
	}
	return w.Store.CommitUpload(w.t.Context(), cause(), u, false)
}

// image is a parsed image manifest that names blobs: the first is its config.
func (w world) image(subject *oci.Descriptor, blobs ...meta.Blob) meta.ManifestPut {
	w.t.Helper()
	config, layers := content(imagespec.MediaTypeImageConfig, blobs[0]), []ocitest.Content{}
	for _, b := range blobs[1:] {
		layers = append(layers, content(imagespec.MediaTypeImageLayer, b))
	}
	return w.parsed(ocitest.Extra{Subject: subject}.Manifest(config, layers...))
}

// index is a parsed image index that names manifests.
func (w world) index(children ...meta.Manifest) meta.ManifestPut {
	w.t.Helper()
	var list []ocitest.Content
	for _, m := range children {
		list = append(list, ocitest.Content{Descriptor: *descriptor(m)})
	}
	return w.parsed(ocitest.Index(list...))
}

// content is what leads to a blob.
func content(mediaType string, b meta.Blob) ocitest.Content {
	return ocitest.Content{Descriptor: oci.Descriptor{MediaType: mediaType, Digest: b.Digest, Size: b.Size}}
}

// parsed is a manifest with what the store needs to know of it.
func (w world) parsed(m ocitest.Content) meta.ManifestPut {
	w.t.Helper()
	parsed, err := oci.ParseManifest(m.MediaType, m.Bytes)
	w.must(err)
	return meta.ManifestPut{Manifest: meta.Manifest{Digest: m.Digest, MediaType: m.MediaType, Payload: m.Bytes}, Parsed: parsed}
}

// put stores a manifest under tags.
func (w world) put(r meta.Repo, p meta.ManifestPut, tags ...string) meta.Manifest {
	w.t.Helper()
	w.must(w.tryPut(r, p, tags...))
	return p.Manifest
}

func (w world) tryPut(r meta.Repo, p meta.ManifestPut, tags ...string) error {
	p.Repo, p.Tags, p.By = r, tags, cause()
	return w.Store.PutManifest(w.t.Context(), p)
}

// tryDelete deletes one manifest, if no index names it.
func (w world) tryDelete(r meta.Repo, d oci.Digest) error {
	return w.Store.DeleteManifest(w.t.Context(), meta.ManifestDelete{Repo: r, Digest: d, By: cause()})
}

// pushImage pushes blobs and an image of them.
func (w world) pushImage(r meta.Repo, tag string, contents ...string) meta.Manifest {
	w.t.Helper()
	var blobs []meta.Blob
	for _, content := range contents {
		blobs = append(blobs, w.push(r, content))
	}
	return w.put(r, w.image(nil, blobs...), tag)
}

// tagged is the digest a tag points to; empty if the tag does not exist.
func (w world) tagged(r meta.Repo, tag string) oci.Digest {
	w.t.Helper()
	m, err := w.Store.FindManifest(w.t.Context(), r, oci.Reference{Tag: tag})
	if fault.KindOf(err) == fault.NotFound {
		return ""
	}
	w.must(err)
	return m.Digest
}

// used is what the tenant is charged.
func (w world) used(slug string) int64 {
	w.t.Helper()
	found, err := w.Store.FindTenant(w.t.Context(), slug)
	w.must(err)
	return found.Used
}

// objects are the states of all objects.
func (w world) objects() map[blob.Key]byte {
	w.t.Helper()
	states := map[blob.Key]byte{}
	var after blob.Key
	for {
		rows, err := w.Store.ListObjects(w.t.Context(), after, 7)
		w.must(err)
		if len(rows) == 0 {
			return states
		}
		for _, row := range rows {
			states[row.Key] = row.State
			after = row.Key
		}
	}
}

// inState is how many objects are in a state.
func (w world) inState(state byte) int {
	n := 0
	for _, s := range w.objects() {
		if s == state {
			n++
		}
	}
	return n
}

// consistent fails the test for every broken invariant.
func (w world) consistent() {
	w.t.Helper()
	w.must(w.Store.CheckRows(w.t.Context(), func(f meta.Finding) { w.t.Errorf("%s: %s", f.Invariant, f.Detail) }))
}

// collect runs every phase of the janitor until nothing is due, and deletes
// what it is given.
func (w world) collect() {
	w.t.Helper()
	w.must(w.tryCollect())
}

func (w world) tryCollect() error {
	ctx := w.t.Context()
	for {
		work := 0
		for _, phase := range []func() (int, error){
			func() (int, error) { return w.Store.ReapUploads(ctx, 10) },
			func() (int, error) { return w.Store.PurgeDeleted(ctx, 10) },
			func() (int, error) { return w.Store.EvictCached(ctx, 10) },
			func() (int, error) { return w.Store.ShrinkCached(ctx, 10) },
			func() (int, error) { return w.Store.ExpireCached(ctx, 10) },
			func() (int, error) { return w.Store.UnlinkBlobs(ctx, 10) },
			func() (int, error) { return w.Store.DropBlobs(ctx, 10) },
			func() (int, error) { return w.deleteCondemned(10) },
		} {
			n, err := phase()
			if err != nil {
				return err
			}
			work += n
		}
		if work == 0 {
			return nil
		}
	}
}

// twice runs a phase of the janitor two times, and says of how much it did: one
// call may have time for one piece of work only.
func (w world) twice(phase func(ctx context.Context, limit int) (int, error)) int {
	w.t.Helper()
	done := 0
	for range 2 {
		n, err := phase(w.t.Context(), 10)
		w.must(err)
		done += n
	}
	return done
}

// deleteCondemned is phase D over a store that deletes at once.
func (w world) deleteCondemned(limit int) (int, error) {
	due, err := w.Store.ClaimCondemned(w.t.Context(), limit)
	for _, c := range due {
		if w.deleted != nil {
			w.deleted(c.Key)
		}
		err = errors.Join(err, w.Store.ForgetObject(w.t.Context(), c.Key))
	}
	return len(due), err
}

// collectAll lets every time pass, again and again, until no garbage is left.
func (w world) collectAll() {
	w.t.Helper()
	for range 4 {
		w.Advance(49 * time.Hour)
		w.collect()
	}
}

// numbered are n distinct texts.
func numbered(format string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf(format, i)
	}
	return out
}

// pagesBySlug expects the records aa, bb and cc of a tenant, page by page.
func pagesBySlug[R any](w world, list func(context.Context, tenant.ID, meta.Page) ([]R, error), slug func(R) string) {
	w.t.Helper()
	for _, page := range []struct {
		after string
		size  int
		want  []string
	}{{"", 2, []string{"aa", "bb"}}, {"bb", 2, []string{"cc"}}, {"cc", 2, nil}, {"", 0, nil}} {
		got, err := list(w.t.Context(), w.tenant, meta.Page{After: page.after, Size: page.size})
		w.must(err)
		var slugs []string
		for _, r := range got {
			slugs = append(slugs, slug(r))
		}
		if !slices.Equal(slugs, page.want) {
			w.t.Errorf("after %q: %v, want %v", page.after, slugs, page.want)
		}
	}
}
