package assemble

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/boot"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/identity"
	"github.com/berth-registry/berth/pkg/meta/sqlitemeta"
)

// The order of reads and writes is what makes the comparison safe beside nodes
// that start: the database is raised before the store, and read after it. So
// a reader of a sound deployment never sees the store ahead.

// maxReads is how often the sides are read while nodes that start change them.
const maxReads = 10

// raiseEvery is how often the generation is raised while a process runs, so that
// an older database is told from a newer one also where nothing was restarted in
// between.
const raiseEvery = 24 * time.Hour

// pair reads both sides, the store first. A side that is nil carries nothing.
func (s stores) pair(ctx context.Context) (identity.Pair, error) {
	var p identity.Pair
	var err error
	if s.blobs != nil {
		if p.Store, err = s.blobs.ReadIdentity(ctx); err != nil && !errors.Is(err, blob.ErrMissing) {
			return p, err
		}
	}
	if s.meta != nil {
		if p.Database, err = s.meta.FindIdentity(ctx); err != nil && !fault.Is(err, fault.ResourceUnknown) {
			return p, err
		}
	}
	return p, nil
}

// sides are the two identities and how they compare.
type sides struct {
	identity.Pair
	state identity.State
}

// look reads the sides until two reads in a row agree, unless the first is sound.
// Where identities do not tell, sample looks at what the sides hold.
func (s stores) look(ctx context.Context, sample func(context.Context) (identity.Sample, error)) (sides, error) {
	var last sides
	for i := range maxReads {
		p, err := s.pair(ctx)
		if err != nil {
			return sides{}, err
		}
		var held identity.Sample
		if p.NeedsSample() {
			if held, err = sample(ctx); err != nil {
				return sides{}, err
			}
		}
		now := sides{p, p.State(held)}
		if (identity.Accepted{}).Allows(now.state) || i > 0 && now == last {
			return now, nil
		}
		last = now
	}
	return sides{}, errors.New("the identities of database and blob store keep changing; start again when the other processes have started")
}

func accepted(c boot.Config) identity.Accepted {
	return identity.Accepted{Restored: c.AcceptRestored, Store: c.AcceptStore}
}

// establish compares the sides, gives them an identity where they have none, and
// raises the generation of both. It is what every start does before anything is
// served, and it refuses with a sentence for the operator.
func (s stores) establish(ctx context.Context, c boot.Config, log *slog.Logger) error {
	now, err := s.look(ctx, s.sample)
	if err != nil {
		return err
	}
	a := accepted(c)
	if !a.Allows(now.state) {
		return refusal(c, now)
	}
	id, err := s.claim(ctx, now)
	if err != nil {
		return err
	}
	atLeast := int64(0)
	if now.Store.Deployment == id.Deployment {
		atLeast = now.Store.Generation
	}
	if id, err = s.raise(ctx, atLeast); err != nil {
		return err
	}
	s.blobs.Expect(id.Deployment)
	log.DebugContext(ctx, "database and blob store belong together", "deployment", id.Deployment, "generation", id.Generation)
	if (identity.Accepted{}).Allows(now.state) && a != (identity.Accepted{}) {
		log.WarnContext(ctx, "accept_restored or accept_store is set, and nothing needed it; unset it, so that what it accepts is noticed the next time")
	}
	return nil
}

// claim makes both sides carry one deployment. The database decides which: of
// many first starts at once, the first claim there wins. A start that ends before
// the store carries it leaves generation 0, and the next one begins again.
func (s stores) claim(ctx context.Context, now sides) (identity.Identity, error) {
	id := now.Database
	if id.IsZero() {
		mine := identity.New()
		if now.state == identity.Behind {
			mine.Deployment = now.Store.Deployment // a backup of before there were identities
		}
		var err error
		if id, err = s.meta.ClaimIdentity(ctx, mine); err != nil {
			return id, err
		}
	}
	if now.Store.Deployment == id.Deployment {
		return id, nil
	}
	return id, s.name(ctx, now.Store, identity.Identity{Deployment: id.Deployment})
}

// raise raises the generation of the database, then that of the store.
func (s stores) raise(ctx context.Context, atLeast int64) (identity.Identity, error) {
	id, err := s.meta.RaiseIdentity(ctx, atLeast)
	if err != nil {
		return id, err
	}
	was, err := s.blobs.ReadIdentity(ctx)
	if err != nil {
		return id, err
	}
	return id, s.name(ctx, was, id)
}

// name makes the store carry id, or a later generation of it, in the place of was.
func (s stores) name(ctx context.Context, was, id identity.Identity) error {
	for range maxReads {
		if was.Deployment == id.Deployment && was.Generation >= id.Generation {
			return nil
		}
		err := s.blobs.WriteIdentity(ctx, was, id)
		if !errors.Is(err, blob.ErrChanged) {
			return err
		}
		switch was, err = s.blobs.ReadIdentity(ctx); {
		case err != nil && !errors.Is(err, blob.ErrMissing):
			return err
		case err == nil && was.Deployment != id.Deployment:
			return fmt.Errorf("blobs: deployment %s took the store while this process started; each deployment needs a store of its own", was.Deployment)
		}
	}
	return errors.New("blobs: the identity in the store keeps changing; start again when the other processes have started")
}

// AcceptRestored makes what a restore has brought back a deployment that starts
// without being asked: as a start with accept_restored does, both sides get a
// generation that is later than either had.
//
// Who restores writes the database with its row of identity as it was in the
// backup, then the objects that it names, and the store's identity: either that
// of the backup, or {deployment of the database, generation 0} where the store
// is a new one. A store that still carries its identity keeps it. No server may
// run on either side. Then AcceptRestored is called, once.
func AcceptRestored(ctx context.Context, c boot.Config, log *slog.Logger) error {
	c.AcceptRestored = true
	s, err := openStores(ctx, c, nil)
	if err != nil {
		return err
	}
	return errors.Join(s.establish(ctx, c, log), s.close())
}

// compare checks that database and blob store still belong together, for readiness and before
// each run of the janitor.
func (s stores) compare(ctx context.Context) error {
	now, err := s.look(ctx, func(context.Context) (identity.Sample, error) { return identity.Sample{}, nil })
	if err != nil {
		return err
	}
	switch now.state {
	case identity.Agree:
		return nil
	case identity.Behind:
		return fmt.Errorf("the database is at generation %d and its blob store at %d: it was restored or cloned under this process; stop all processes, see which database is the right one, and start with accept_restored", now.Database.Generation, now.Store.Generation)
	default:
		return fmt.Errorf("database and blob store do not belong together any more: the database is that of %s, the store that of %s", naming(now.Database), naming(now.Store))
	}
}

func naming(id identity.Identity) string {
	if id.Deployment == uuid.Nil {
		return "no deployment"
	}
	return "deployment " + id.Deployment.String()
}

// keepRaising raises the generation now and then, until ctx ends.
func (s stores) keepRaising(ctx context.Context, log *slog.Logger) {
	tick := time.NewTicker(raiseEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := s.compare(ctx)
		if err == nil {
			_, err = s.raise(ctx, 0)
		}
		if err != nil && ctx.Err() == nil {
			log.ErrorContext(ctx, "the generation of database and blob store could not be raised; it is tried again in a day", "error", err)
		}
	}
}

// compareToCheck is establish without changes.
func (s stores) compareToCheck(ctx context.Context, c boot.Config) error {
	now, err := s.look(ctx, s.sample)
	switch {
	case err != nil:
		return err
	case now.state == identity.Empty:
		return fmt.Errorf("%s: there is nothing to check: neither the database nor the blob store holds anything", where(c))
	case !accepted(c).Allows(now.state):
		return refusal(c, now)
	case now.state == identity.Agree:
		s.blobs.Expect(now.Database.Deployment)
	}
	return nil
}

// refuseStoreAlone refuses to make a database where a blob store is that of
// another one.
func refuseStoreAlone(ctx context.Context, c boot.Config) error {
	if !c.Embedded() || !missing(filepath.Join(c.DataDir, sqlitemeta.FileName)) || c.Blobs.IsZero() && missing(blobDir(c)) {
		return nil
	}
	blobs, err := openBlobs(ctx, c, newTimings(), true)
	if err != nil {
		return err
	}
	return errors.Join(stores{blobs: blobs}.refuseHalf(ctx, c), blobs.Close())
}

// refuseDatabaseAlone refuses to make a directory of blobs where a database was
// served with another one.
func (s stores) refuseDatabaseAlone(ctx context.Context, c boot.Config) error {
	if !c.Blobs.IsZero() || !missing(blobDir(c)) {
		return nil
	}
	return s.refuseHalf(ctx, c)
}

func (s stores) refuseHalf(ctx context.Context, c boot.Config) error {
	now, err := s.look(ctx, s.sample)
	if err == nil && !accepted(c).Allows(now.state) {
		err = refusal(c, now)
	}
	return err
}

func missing(path string) bool {
	_, err := os.Stat(path)
	return errors.Is(err, os.ErrNotExist)
}
