package sqlmeta

import (
	"bytes"
	"context"
	"slices"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

// IndexSearch implements meta.Search. Tenants take turns.
func (s *Records) IndexSearch(ctx context.Context, limit int, describe meta.Describe) (int, error) {
	limit = min(limit, s.searchStep())
	for _, after := range []tenant.ID{tenant.ID(s.searched.Load()), 0} {
		next, err := list(ctx, s, noTenant, func(scan Scan) (tenant.ID, error) {
			var id tenant.ID
			err := scan(&id)
			return id, err
		}, nextSearchTenant, after)
		if err != nil {
			return 0, err
		}
		if len(next) > 0 {
			s.searched.Store(int64(next[0]))
			return s.indexChanges(ctx, next[0], limit, describe)
		}
		if after == 0 {
			break
		}
	}
	return s.indexOlder(ctx, limit, describe)
}

// searchStep is how many changes are indexed in one transaction: SQLite's one writer is held
// for a few milliseconds.
func (s *Records) searchStep() int {
	if s.engine.Pick("sqlite", "") != "" {
		return 50
	}
	return 500
}

// searchProgressOf reads the progress, and keeps other indexers away.
func searchProgressOf(t Tx) (searchProgress, error) {
	var p searchProgress
	if err := t.Queue(makeSearchProgress, []byte{}); err != nil {
		return p, err
	}
	_, err := t.Find(t.Pick(findSearchProgress, lockSearchProgress), nil, p.dest()...)
	return p, err
}

// searchChange is a row that leads to a subject.
type searchChange struct {
	id      int64 // of search_changes
	tenant  tenant.ID
	repo    int64
	tag     string
	digest  oci.Digest
	subject searchSubject
}

func (c *searchChange) setSubject() {
	switch {
	case c.digest != "":
		c.subject = manifestSubject(c.repo, c.digest)
	default:
		c.subject = tagSubject(c.repo, c.tag) // of the repository alone, if there is no tag
	}
}

func (s *Records) indexChanges(ctx context.Context, id tenant.ID, limit int, describe meta.Describe) (int, error) {
	changes, err := list(ctx, s, id, func(scan Scan) (searchChange, error) {
		c := searchChange{tenant: id}
		err := scan(&c.id, &c.repo, textScanner{&c.tag}, digestScanner{&c.digest})
		c.setSubject()
		return c, err
	}, listSearchChanges, id, limit)
	if err != nil {
		return 0, err
	}
	changes, texts, err := s.described(ctx, changes, describe)
	if err != nil || len(changes) == 0 {
		return 0, err
	}
	done := make([]int64, len(changes))
	for i, c := range changes {
		done[i] = c.id
	}
	return len(changes), s.engine.Write(ctx, id, func(t Tx) error {
		if _, err := searchProgressOf(t); err != nil {
			return err
		}
		x := newIndexer(t, changes, texts)
		if err := x.run(); err != nil {
			return err
		}
		return x.queue(t.Pick(dropSearchChangesSQLite, dropSearchChangesPostgres), done)
	})
}

// searchProgress is the row of search_progress.
type searchProgress struct {
	phase  string
	tenant tenant.ID
	repo   int64
	tag    string
	digest []byte
}

func (p *searchProgress) dest() []any { return []any{&p.phase, &p.tenant, &p.repo, &p.tag, &p.digest} }

func (p *searchProgress) equal(q searchProgress) bool {
	return p.phase == q.phase && p.tenant == q.tenant && p.repo == q.repo && p.tag == q.tag && bytes.Equal(p.digest, q.digest)
}

// searchProgress reads the row; it may not be there yet.
func (s *Records) searchProgress(ctx context.Context) (searchProgress, error) {
	found, err := list(ctx, s, noTenant, func(scan Scan) (searchProgress, error) {
		var p searchProgress
		err := scan(p.dest()...)
		return p, err
	}, findSearchProgress)
	if err != nil || len(found) == 0 {
		return searchProgress{phase: "tags"}, err
	}
	return found[0], nil
}

// SearchComplete implements meta.Search.
func (s *Records) SearchComplete(ctx context.Context) (bool, error) {
	p, err := s.searchProgress(ctx)
	return p.phase == "done", err
}

// phaseAfter is the order of the phases.
var phaseAfter = map[string]string{"entries": "tags", "tags": "manifests", "manifests": "done"}

// indexOlder indexes the next rows of a phase. It returns more than 0: there may be others.
func (s *Records) indexOlder(ctx context.Context, limit int, describe meta.Describe) (int, error) {
	p, err := s.searchProgress(ctx)
	if err != nil || p.phase == "done" {
		return 0, err
	}
	query, args := searchTagsFrom, []any{p.tenant, p.repo, p.tag, limit}
	switch p.phase {
	case "entries":
		query = searchEntriesFrom
	case "manifests":
		query, args = searchManifestsFrom, []any{p.tenant, p.repo, append([]byte{}, p.digest...), limit}
	}
	rows, err := list(ctx, s, noTenant, func(scan Scan) (searchChange, error) {
		var c searchChange
		err := scan(&c.tenant, &c.repo, textScanner{&c.tag}, digestScanner{&c.digest})
		c.setSubject()
		return c, err
	}, query, args...)
	if err != nil {
		return 0, err
	}
	if i := slices.IndexFunc(rows, func(c searchChange) bool { return c.tenant != rows[0].tenant }); i > 0 {
		rows = rows[:i] // the others are the next step's
	}
	rows, texts, err := s.described(ctx, rows, describe)
	if err != nil {
		return 0, err
	}
	next, owner := searchProgress{phase: phaseAfter[p.phase]}, noTenant
	if len(rows) > 0 {
		last := rows[len(rows)-1]
		owner, next = last.tenant, searchProgress{phase: p.phase, tenant: last.tenant, repo: last.repo, tag: last.tag, digest: last.digest.Bytes()}
	}
	return max(len(rows), 1), s.engine.Write(ctx, owner, func(t Tx) error {
		now, err := searchProgressOf(t)
		if err != nil || !now.equal(p) {
			return err // another one did this step, or a rebuild began
		}
		x := newIndexer(t, rows, texts)
		if err := x.run(); err != nil {
			return err
		}
		return t.Queue(setSearchProgress, next.phase, next.tenant, next.repo, next.tag, append([]byte{}, next.digest...))
	})
}

const restartSearch = `UPDATE search_progress SET phase = 'entries', cursor_tenant = 0, cursor_repo = 0, cursor_tag = '', cursor_digest = $1 WHERE one = 1`

// RebuildSearch implements meta.Search.
func (s *Records) RebuildSearch(ctx context.Context, by meta.Cause) error {
	return s.engine.Write(ctx, noTenant, func(t Tx) error {
		if err := Event(t, by, meta.Deployment, meta.RebuiltSearch, "search"); err != nil {
			return err
		}
		if err := t.Queue(makeSearchProgress, []byte{}); err != nil {
			return err
		}
		return t.Queue(restartSearch, []byte{})
	})
}
