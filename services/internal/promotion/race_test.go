package promotion_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/dice"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/pgmeta"
	"github.com/berth-registry/berth/pkg/meta/sqlitemeta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/pkg/tagrule"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/promotion"
	"github.com/berth-registry/berth/tools/testserver"
)

// Promotions of images of 12 platforms with companions race with deletes at both ends,
// collection, tag rules, and kills: each is there whole or not at all under its tag.

func TestW165_PromotionsRace_Embedded(t *testing.T) {
	t.Parallel()
	s, err := sqlitemeta.Open(t.Context(), sqlitemeta.Options{Dir: t.TempDir(), Lifetimes: hasty})
	if err != nil {
		t.Fatal(err)
	}
	race(t, s)
}

func TestW165_PromotionsRace_OnServers(t *testing.T) {
	t.Parallel()
	s, err := pgmeta.Open(t.Context(), pgmeta.Options{URL: testserver.StartPostgres(t).URL(), Lifetimes: hasty})
	if err != nil {
		t.Fatal(err)
	}
	race(t, s)
}

// hasty are waits that are over while a promotion runs.
var hasty = func() meta.Lifetimes {
	l := meta.DefaultLifetimes
	l.Grace, l.HeadGrace, l.Released, l.Undelete, l.DeleteDelay = 300*time.Millisecond, time.Millisecond, time.Millisecond, 0, time.Millisecond
	return l
}()

const (
	platforms   = 12
	putsPerTurn = 20 // that others disturb promotions once
)

// raced is the race: its images, and when what was done to the target.
type raced struct {
	t         *testing.T
	store     meta.Store
	dev, prod meta.Repo
	images    []racedImage

	allowMissing bool // pushes may lack references

	moment  atomic.Int64  // grows
	turns   chan struct{} // for those who disturb: one for some puts
	mu      sync.Mutex
	deleted map[oci.Digest]int64 // in the target, and when the last deletion had ended
	tagged  map[string]tagPut    // by digest and tag, the last one
	killed  atomic.Int64
	whole   atomic.Int64
}

type tagPut struct{ began int64 }

// racedImage is one image: children first, then the index, then companions.
type racedImage struct {
	all   []ocitest.Content
	blobs map[oci.Digest][]ocitest.Content // of each manifest
	index ocitest.Content
	sig   ocitest.Content
	tag   string
}

func race(t *testing.T, s meta.Store) {
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	r := &raced{t: t, store: s, turns: make(chan struct{}), deleted: map[oci.Digest]int64{}, tagged: map[string]tagPut{}}
	r.setUp()
	seed := dice.Seed(t)
	for i := range dice.Count(t, 4, 50) {
		r.images = append(r.images, newRacedImage(i, dice.Count(t, 8, 200)))
		r.push(r.images[i])
	}
	ctx, stop := context.WithCancel(t.Context())
	var others, promoters sync.WaitGroup
	for i, disturb := range []func(context.Context, *rand.Rand){r.deletes, r.deletes, r.collects, r.rules} {
		others.Go(func() { disturb(ctx, rand.New(rand.NewPCG(seed, uint64(i)))) })
	}
	for i := range dice.Count(t, 8, 100) {
		random := rand.New(rand.NewPCG(seed, uint64(100+i)))
		promoters.Go(func() { r.promotes(r.images[i%len(r.images)], random) })
	}
	promoters.Wait()
	stop()
	others.Wait()
	if t.Failed() {
		return
	}
	r.check()
	t.Logf("%d promotions were whole, %d were killed", r.whole.Load(), r.killed.Load())
	r.recover()
}

func (r *raced) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func cause() meta.Cause { return meta.Cause{Op: uuid.New(), Actor: "serviceAccounts/ci"} }

func (r *raced) setUp() {
	ctx := r.t.Context()
	tn, err := r.store.CreateTenant(ctx, cause(), meta.Tenant{Slug: "acme"}, tenant.Settings{})
	r.must(err)
	for slug, repo := range map[string]*meta.Repo{"dev": &r.dev, "prod": &r.prod} {
		g, err := r.store.CreateRegistry(ctx, cause(), meta.Registry{Tenant: tn.ID, Slug: slug})
		r.must(err)
		*repo = meta.Repo{Tenant: tn.ID, Registry: g.ID, Name: "app"}
	}
}

func newRacedImage(n, companions int) racedImage {
	img := racedImage{blobs: map[oci.Digest][]ocitest.Content{}, tag: "v" + strconv.Itoa(n/2)} // two images move one tag
	unique := func(what string, i int) ocitest.Content {
		return ocitest.Layer(fmt.Appendf(nil, "%s %d of %d", what, i, n))
	}
	add := func(m ocitest.Content, blobs ...ocitest.Content) ocitest.Content {
		img.all = append(img.all, m)
		img.blobs[m.Digest] = blobs
		return m
	}
	shared := ocitest.Layer([]byte("shared"))
	var children []ocitest.Content
	for i := range platforms {
		config, layer := ocitest.Config(fmt.Appendf(nil, `{"n": %d, "of": %d}`, i, n)), unique("layer", i)
		children = append(children, add(ocitest.Manifest(config, layer, shared), config, layer, shared))
	}
	img.index = add(ocitest.Index(children...))
	of := []ocitest.Content{img.index, children[0]}
	for i := range companions {
		layer := unique("companion", i)
		subject := of[i%2]
		of = append(of, add(ocitest.Extra{Subject: &subject.Descriptor, ArtifactType: "application/spdx+json"}.Manifest(ocitest.Empty(), layer), ocitest.Empty(), layer))
	}
	layer := unique("signature", 0)
	img.sig = add(ocitest.Manifest(ocitest.Empty(), layer), ocitest.Empty(), layer)
	return img
}

// push pushes an image to dev; what is there stays.
func (r *raced) push(img racedImage) {
	r.t.Helper()
	ctx := r.t.Context()
	for _, m := range img.all {
		for _, b := range img.blobs[m.Digest] {
			if _, err := r.store.CheckBlob(ctx, r.dev, b.Digest); err == nil {
				continue
			}
			u, err := r.store.CreateUpload(ctx, r.dev, oci.SHA256)
			r.must(err)
			u, err = r.store.TakeUpload(ctx, r.dev, u.ID, 0)
			r.must(err)
			u, err = r.store.AdvanceUpload(ctx, u, blob.Progress{Offset: b.Size, State: []byte("hash")})
			r.must(err)
			u, err = r.store.SealUpload(ctx, u, b.Digest)
			r.must(err)
			_, err = r.store.CommitUpload(ctx, cause(), u, false)
			r.must(err)
		}
		parsed, err := oci.ParseManifest(m.MediaType, m.Bytes)
		r.must(err)
		put := meta.ManifestPut{Repo: r.dev, Manifest: meta.Manifest{Digest: m.Digest, MediaType: m.MediaType, Payload: m.Bytes}, Parsed: parsed, By: cause(), AllowMissingReferences: r.allowMissing}
		if m.Digest == img.sig.Digest {
			put.Tags = []string{"sha256-" + img.index.Digest.Hex() + ".sig"}
		}
		r.must(r.store.PutManifest(ctx, put))
	}
}

// errKilled ends a promotion as a kill of its process does: at a step, or after its
// transaction.
var errKilled = errors.New("killed")

// killing is the store of a promotion that is killed, and that notes puts of its tag.
type killing struct {
	meta.Store
	race  *raced
	left  int // steps until it is killed; negative: it is not
	after bool
}

func (k *killing) step(do func() error) error {
	k.left--
	if k.left == 0 && !k.after {
		return errKilled
	}
	err := do()
	if k.left == 0 {
		return errKilled
	}
	return err
}

func (k *killing) PutManifest(ctx context.Context, p meta.ManifestPut) error {
	return k.step(func() error {
		began := k.race.moment.Add(1)
		if began%putsPerTurn == 0 {
			select {
			case k.race.turns <- struct{}{}:
			default:
			}
		}
		err := k.Store.PutManifest(ctx, p)
		if err == nil && !p.By.ValidateOnly && p.Requires != nil && len(p.Tags) == 1 {
			k.race.mu.Lock()
			defer k.race.mu.Unlock()
			k.race.tagged[p.Tags[0]+p.Manifest.Digest.String()] = tagPut{began}
		}
		return err
	})
}

func (k *killing) AdoptBlobs(ctx context.Context, by meta.Cause, from []meta.Repo, to meta.Repo, blobs []oci.Digest) ([]oci.Digest, error) {
	var missing []oci.Digest
	err := k.step(func() error {
		var err error
		missing, err = k.Store.AdoptBlobs(ctx, by, from, to, blobs)
		return err
	})
	return missing, err
}

func (r *raced) request(img racedImage) promotion.Request {
	return promotion.Request{From: r.dev, Registry: "dev", Digest: img.index.Digest, To: r.prod, ToRegistry: "prod", Tag: img.tag, By: cause()}
}

// promotes promotes an image until it is there, or refused often.
func (r *raced) promotes(img racedImage, random *rand.Rand) {
	for range 6 {
		k := &killing{Store: r.store, race: r, left: -1, after: random.IntN(2) == 0}
		if random.IntN(2) == 0 {
			k.left = 1 + random.IntN(2*len(img.all))
		}
		_, err := promotion.New(k, nil, nil).Promote(r.t.Context(), r.request(img))
		switch {
		case err == nil:
			r.whole.Add(1)
			return
		case errors.Is(err, errKilled):
			r.killed.Add(1)
		case fault.Is(err, fault.NotPromotable), fault.Is(err, fault.ManifestUnknown), fault.Is(err, fault.NameUnknown), fault.Is(err, fault.DeniedReason):
		default:
			r.t.Errorf("%s: %v", img.tag, err)
			return
		}
	}
}

// turn waits until promotions may be disturbed once more; false: they have ended.
func (r *raced) turn(ctx context.Context) bool {
	select {
	case <-r.turns:
		return true
	case <-ctx.Done():
		return false
	}
}

// deletes deletes manifests at both ends, mostly of the target.
func (r *raced) deletes(ctx context.Context, random *rand.Rand) {
	for r.turn(ctx) {
		img := r.images[random.IntN(len(r.images))]
		d := img.all[random.IntN(len(img.all))].Digest
		repo := r.prod
		if random.IntN(20) == 0 {
			repo = r.dev
		}
		err := r.store.DeleteManifest(r.t.Context(), meta.ManifestDelete{Repo: repo, Digest: d, By: cause(), Force: random.IntN(3) == 0})
		switch {
		case err == nil && repo == r.prod:
			r.mu.Lock()
			r.deleted[d] = r.moment.Add(1)
			r.mu.Unlock()
		case err == nil, fault.Is(err, fault.ManifestUnknown), fault.Is(err, fault.NameUnknown), fault.Is(err, fault.UnsupportedReason), fault.Is(err, fault.DeniedReason):
		default:
			r.t.Errorf("delete %s: %v", d, err)
			return
		}
	}
}

func (r *raced) collects(ctx context.Context, _ *rand.Rand) {
	for ctx.Err() == nil {
		if err := r.collect(); err != nil {
			r.t.Error(err)
			return
		}
	}
}

func (r *raced) collect() error {
	for _, phase := range []func(context.Context, int) (int, error){r.store.PurgeDeleted, r.store.ExpireCached, r.store.UnlinkBlobs, r.store.DropBlobs} {
		if _, err := phase(r.t.Context(), 10); err != nil {
			return err
		}
	}
	return nil
}

// rules makes and deletes a tag rule of the target.
func (r *raced) rules(ctx context.Context, _ *rand.Rand) {
	rule := meta.TagRule{Tenant: r.prod.Tenant, Registry: "prod", Rule: tagrule.Rule{Slug: "fixed", NoOverwrite: true}}
	for r.turn(ctx) {
		_, err := r.store.CreateTagRule(r.t.Context(), cause(), rule)
		err = errors.Join(err, r.store.DeleteTagRule(r.t.Context(), cause(), rule.Tenant, "fixed", 0))
		if err != nil {
			r.t.Error(err)
			return
		}
	}
}

// check looks at each tag of the target: what it leads to is whole, but for what was deleted
// since its put began.
func (r *raced) check() {
	ctx := r.t.Context()
	for _, img := range r.images {
		at, err := r.store.FindManifest(ctx, r.prod, oci.Reference{Tag: img.tag})
		if fault.KindOf(err) == fault.NotFound {
			continue
		}
		r.must(err)
		if at.Digest != img.index.Digest {
			continue
		}
		put, noted := r.tagged[img.tag+img.index.Digest.String()]
		if !noted {
			r.t.Fatalf("%s leads to an image that was not put", img.tag)
		}
		for _, m := range img.all {
			if r.deleted[m.Digest] > put.began {
				continue
			}
			if _, err := r.store.FindManifest(ctx, r.prod, oci.Reference{Digest: m.Digest}); err != nil {
				// What was deleted in the source before was not promoted with it.
				if _, gone := r.store.FindManifest(ctx, r.dev, oci.Reference{Digest: m.Digest}); gone == nil {
					r.t.Errorf("%s has no %s: %v", img.tag, m.Digest, err)
				}
			}
		}
	}
	r.must(r.store.CheckRows(ctx, func(f meta.Finding) { r.t.Errorf("%s: %s", f.Invariant, f.Detail) }))
}

// recover promotes all images again, which then stay.
func (r *raced) recover() {
	ctx := r.t.Context()
	for _, img := range r.images {
		r.push(img)
		_, err := promotion.New(r.store, nil, nil).Promote(ctx, r.request(img))
		r.must(err)
	}
	deadline := time.Now().Add(2 * hasty.Grace)
	for time.Now().Before(deadline) {
		r.must(r.collect())
	}
	last := map[string]racedImage{}
	for _, img := range r.images {
		last[img.tag] = img
	}
	for _, img := range r.images {
		for _, m := range img.all {
			if _, err := r.store.FindManifest(ctx, r.prod, oci.Reference{Digest: m.Digest}); err != nil {
				r.t.Errorf("%s: %v", m.Digest, err)
			}
			held, err := r.store.FindHeld(ctx, []meta.Repo{r.prod}, digestsOf(img.blobs[m.Digest]))
			if err != nil || len(held) != len(digestsOf(img.blobs[m.Digest])) {
				r.t.Errorf("%s holds %v, %v", m.Digest, held, err)
			}
		}
	}
	for tag, img := range last {
		if m, err := r.store.FindManifest(ctx, r.prod, oci.Reference{Tag: tag}); err != nil || m.Digest != img.index.Digest {
			r.t.Errorf("%s leads to %s, %v", tag, m.Digest, err)
		}
	}
	r.must(r.store.CheckRows(ctx, func(f meta.Finding) { r.t.Errorf("%s: %s", f.Invariant, f.Detail) }))
}

func digestsOf(contents []ocitest.Content) []oci.Digest {
	var digests []oci.Digest
	for _, c := range contents {
		digests = append(digests, c.Digest)
	}
	slices.Sort(digests)
	return slices.Compact(digests)
}
