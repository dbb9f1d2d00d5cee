package pgmeta

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// contestTime does not end with a test: an operation that meets another runs in a
// goroutine of its own.
var contestTime = context.Background()

// move is an operation in the arena: one call of the store, or several of one client,
// of which each relies on the one before.
type move struct {
	name  string
	calls []call
	again bool // it leaves what others have locked to its next call

	undeletes bool // the image "deleted"
	purges    bool // a digest
	long      bool // it takes some hundred statements
	// Where a call takes several transactions, which others may come between: calls that
	// make them one at a time.
	parts func() []call
}

// split are the calls of a move, as small as others may come between them.
func (m move) split() []call {
	if m.parts == nil {
		return m.calls
	}
	return m.parts()
}

type call func(a *arena, s *Store) error

// phase is one of the janitor's.
type phase func(ctx context.Context, limit int) (int, error)

// all makes the calls until one fails.
func (m move) all(a *arena) func(*Store) error {
	return func(s *Store) error {
		for _, call := range m.calls {
			if err := call(a, s); err != nil {
				return err
			}
		}
		return nil
	}
}

func one(name string, single call) move { return move{name: name, calls: []call{single}} }

// putting is a push of an image, under more tags.
func putImageMove(name, image string, tags ...string) move {
	return one(name, func(a *arena, s *Store) error { return a.put(s, image, tags...) })
}

func commitMove(name, content string) move {
	return one(name, func(a *arena, s *Store) error {
		_, err := s.CommitUpload(contestTime, a.cause(s), a.sessions[content], false)
		return err
	})
}

func deleteMove(name string, del meta.ManifestDelete) move {
	return one(name, func(a *arena, s *Store) error { return a.delete(s, "v1", del) })
}

func undeleteMove(name, image string, tags ...string) move {
	m := one(name, func(a *arena, s *Store) error { return a.undelete(s, image, a.cause(s), tags...) })
	m.undeletes = image == "deleted"
	m.parts = func() []call { return undeleteParts(image, tags...) }
	return m
}

// errCut is the end of an undelete that is cut off after one of its transactions.
var errCut = errors.New("pgmeta: cut off")

// undeleteParts are the transactions of an undelete, up to three: children are put before,
// and referrers follow.
func undeleteParts(image string, tags ...string) []call {
	var by meta.Cause
	over := false
	some := func(a *arena, s *Store) error {
		if over {
			return nil
		}
		if by.Op == uuid.Nil {
			by = a.cause(s)
		}
		err := a.undeleteOne(s, image, by, tags...)
		if errors.Is(err, errCut) {
			return nil
		}
		over = true
		return err
	}
	return []call{some, some, func(a *arena, s *Store) error {
		if over {
			return nil
		}
		return a.undelete(s, image, by, tags...)
	}}
}

// deleteThenUndelete deletes v1 with its referrers, and restores it.
var deleteThenUndelete = move{
	name: "delete-then-undelete", long: true,
	calls: []call{deleteV1, func(a *arena, s *Store) error { return a.undelete(s, "v1", a.cause(s)) }},
	parts: func() []call { return append([]call{deleteV1}, undeleteParts("v1")...) },
}

func deleteV1(a *arena, s *Store) error {
	return a.delete(s, "v1", meta.ManifestDelete{Referrers: true})
}

func purgeMove(name string, of func(a *arena) oci.Digest) move {
	m := one(name, func(a *arena, s *Store) error { return a.purge(s, of(a)) })
	m.purges, m.long = true, true
	return m
}

// promoteMove puts what goes with an image, and then its tag, which requires it.
func promoteMove(name, image, tag string, with ...string) move {
	m := move{name: name}
	for _, one := range with {
		m.calls = append(m.calls, func(a *arena, s *Store) error {
			p := a.images[one]
			p.By, p.Provisional = a.cause(s), true
			return s.PutManifest(contestTime, p)
		})
	}
	m.calls = append(m.calls, func(a *arena, s *Store) error {
		p := a.images[image]
		p.Tags, p.By, p.Verb, p.Gates = []string{tag}, a.cause(s), meta.TagPromoted, &meta.GateVersions{}
		for _, one := range with {
			p.Requires = append(p.Requires, a.images[one].Manifest.Digest)
		}
		return s.PutManifest(contestTime, p)
	})
	return m
}

// evaluatedMove is so many deletions of a run, one after another.
func evaluatedMove(name string, deletions int) move {
	m := move{name: name}
	for i := range deletions {
		m.calls = append(m.calls, func(a *arena, s *Store) error {
			d := a.evaluated[i]
			d.By = a.cause(s)
			return s.DeleteEvaluated(contestTime, d)
		})
	}
	return m
}

// janitorMove is a step of the janitor, which finds several things to do.
func janitorMove(name string, of func(s *Store) phase) move {
	m := one(name, func(_ *arena, s *Store) error {
		_, err := of(s)(contestTime, 10)
		return err
	})
	m.again = true
	return m
}

// moves are the core transactions of the storage protocol.
var moves = []move{
	commitMove("commit", "new"),
	commitMove("commit-loose", "loose"),
	commitMove("commit-dropped", "dropped"),
	commitMove("commit-held", "held"),
	putImageMove("put-image", "both", "v1"),
	putImageMove("put-again", "v1"),
	putImageMove("put-index", "index"),
	putImageMove("put-referrer", "approval"),
	putImageMove("move-tag", "moved", "v1"),
	putImageMove("take-tag", "moved", "deleted"),
	putImageMove("put-deleted", "deleted"),
	undeleteMove("undelete", "deleted"),
	undeleteMove("undelete-as", "deleted", "v2"),
	undeleteMove("undelete-index", "index-of-deleted"),
	deleteThenUndelete,
	one("mount", func(a *arena, s *Store) error {
		_, err := s.MountBlob(contestTime, a.cause(s), a.source, a.app, digestOf("loose"))
		return err
	}),
	{name: "adopt-then-put", calls: []call{
		func(a *arena, s *Store) error {
			missing, err := s.AdoptBlobs(contestTime, a.cause(s), []meta.Repo{a.source}, a.app, []oci.Digest{digestOf("loose")})
			if err == nil && len(missing) > 0 {
				return fault.New(fault.NotFound, fault.ManifestBlobUnknown, "missing")
			}
			return err
		},
		func(a *arena, s *Store) error {
			p := a.images["loose"]
			p.By, p.Provisional = a.cause(s), true
			return s.PutManifest(contestTime, p)
		},
	}},
	{name: "head-then-put", calls: []call{
		func(a *arena, s *Store) error {
			_, err := s.CheckBlob(contestTime, a.app, digestOf("loose"))
			return err
		},
		func(a *arena, s *Store) error { return a.put(s, "loose", "head") },
	}},
	promoteMove("promote-tag", "moved", "v1", "signature", "expired"),
	promoteMove("promote-taken", "v1", "deleted", "signature"),
	deleteMove("delete-manifest", meta.ManifestDelete{}),
	one("delete-with-referrers", deleteV1),
	deleteMove("delete-forced", meta.ManifestDelete{Force: true}),
	evaluatedMove("delete-evaluated", 2),
	one("delete-tag", func(a *arena, s *Store) error { return s.DeleteTag(contestTime, a.cause(s), a.app, "v1") }),
	one("delete-blob", func(a *arena, s *Store) error { return s.DeleteBlob(contestTime, a.cause(s), a.app, digestOf("loose")) }),
	one("delete-held", func(a *arena, s *Store) error { return s.DeleteBlob(contestTime, a.cause(s), a.app, digestOf("held")) }),
	one("delete-repository", func(a *arena, s *Store) error { return s.DeleteRepository(contestTime, a.cause(s), a.app) }),
	one("undelete-repository", func(a *arena, s *Store) error {
		return s.UndeleteRepository(contestTime, meta.RepositoryUndelete{Repo: a.late, By: a.cause(s)})
	}),
	one("delete-source", func(a *arena, s *Store) error { return s.DeleteRepository(contestTime, a.cause(s), a.source) }),
	janitorMove("unlink", func(s *Store) phase { return s.UnlinkBlobs }),
	janitorMove("drop", func(s *Store) phase { return s.DropBlobs }),
	janitorMove("reap", func(s *Store) phase { return s.ReapUploads }),
	janitorMove("expire", func(s *Store) phase { return s.ExpireCached }),
	janitorMove("end-trash", func(s *Store) phase { return s.endTrash }),
	purgeMove("purge-blob", func(*arena) oci.Digest { return digestOf("loose") }),
	purgeMove("purge-manifest", func(a *arena) oci.Digest { return a.images["v1"].Manifest.Digest }),
	purgeMove("purge-trash", func(a *arena) oci.Digest { return a.images["deleted"].Manifest.Digest }),
	purgeMove("purge-index", func(a *arena) oci.Digest { return a.images["index-of-deleted"].Manifest.Digest }),
	janitorMove("purge-deleted", func(s *Store) phase { return s.PurgeDeleted }),
}
