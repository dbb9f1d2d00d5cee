package sqlmeta

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"slices"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

// The indexer reads what is there when it runs, never what a change said: so a change that
// is indexed twice, or late, does no harm. One runs at a time, since it locks the row of
// its progress first. It locks no other row that a push does.
const (
	makeSearchProgress = `
INSERT INTO search_progress (one, phase, cursor_tenant, cursor_repo, cursor_tag, cursor_digest) VALUES (1, 'tags', 0, 0, '', $1) ON CONFLICT (one) DO NOTHING`
	lockSearchProgress = `SELECT phase, cursor_tenant, cursor_repo, cursor_tag, cursor_digest FROM search_progress WHERE one = 1 FOR UPDATE`
	findSearchProgress = `SELECT phase, cursor_tenant, cursor_repo, cursor_tag, cursor_digest FROM search_progress WHERE one = 1`
	setSearchProgress  = `
UPDATE search_progress SET phase = $1, cursor_tenant = $2, cursor_repo = $3, cursor_tag = $4, cursor_digest = $5 WHERE one = 1`

	nextSearchTenant = `SELECT c.tenant_id FROM search_changes c WHERE c.tenant_id > $1 ORDER BY c.tenant_id LIMIT 1`

	listSearchChanges = `
SELECT c.id, c.repo_id, c.tag, c.digest FROM search_changes c WHERE c.tenant_id = $1 ORDER BY c.id LIMIT $2`
	dropSearchChangesPostgres = `
DELETE FROM search_changes WHERE tenant_id = $1 AND id = ANY (ARRAY(SELECT CAST(u.id AS bigint) FROM json_array_elements_text(CAST($2 AS json)) AS u (id)))`
	dropSearchChangesSQLite = `
DELETE FROM search_changes WHERE tenant_id = $1 AND id IN (SELECT j.value FROM json_each($2) j)`

	// What is older than the index, of all tenants. Cached repositories have no entries.
	searchTagsFrom = `
SELECT t.tenant_id, t.repo_id, t.name, NULL FROM tags t
 WHERE (t.tenant_id, t.repo_id, t.name) > ($1, $2, $3) AND t.manifest IS NOT NULL ORDER BY t.tenant_id, t.repo_id, t.name LIMIT $4`
	searchManifestsFrom = `
SELECT m.tenant_id, m.repo_id, NULL, m.digest FROM manifests m
 WHERE (m.tenant_id, m.repo_id, m.digest) > ($1, $2, $3) AND m.expire_at IS NULL ORDER BY m.tenant_id, m.repo_id, m.digest LIMIT $4`
	searchEntriesFrom = `
SELECT e.tenant_id, e.repo_id, e.subject, e.digest FROM search_entries e
 WHERE (e.tenant_id, e.repo_id, e.subject) > ($1, $2, $3) ORDER BY e.tenant_id, e.repo_id, e.subject LIMIT $4`

	indexedRepositoriesPostgres = `
SELECT r.id, r.name
  FROM json_array_elements_text(CAST($2 AS json)) AS u (id)
 CROSS JOIN LATERAL (
        SELECT x.id, x.name FROM repositories x JOIN registries g ON g.tenant_id = x.tenant_id AND g.id = x.registry_id
         WHERE x.tenant_id = $1 AND x.id = CAST(u.id AS bigint) AND x.state <> 'deleting' AND g.upstream_id IS NULL OFFSET 0) AS r`
	indexedRepositoriesSQLite = `
SELECT r.id, r.name
  FROM json_each($2) j
 CROSS JOIN repositories r ON r.tenant_id = $1 AND r.id = j.value AND r.state <> 'deleting'
 CROSS JOIN registries g ON g.tenant_id = r.tenant_id AND g.id = r.registry_id AND g.upstream_id IS NULL`

	subjectsPostgres = `json_to_recordset(CAST($2 AS json)) AS u (repo bigint, subject text, digest text)`

	indexedTagsPostgres = `
SELECT t.repo_id, t.name
  FROM ` + subjectsPostgres + `
 CROSS JOIN LATERAL (
        SELECT x.repo_id, x.name FROM tags x
         WHERE x.tenant_id = $1 AND x.repo_id = u.repo AND x.name = u.subject AND x.manifest IS NOT NULL OFFSET 0) AS t`
	indexedTagsSQLite = `
SELECT t.repo_id, t.name
  FROM json_each($2) j
 CROSS JOIN tags t ON t.tenant_id = $1 AND t.repo_id = j.value ->> 'repo' AND t.name = j.value ->> 'subject' AND t.manifest IS NOT NULL`

	indexedManifestsPostgres = `
SELECT m.repo_id, m.digest
  FROM ` + subjectsPostgres + `
 CROSS JOIN LATERAL (
        SELECT x.repo_id, x.digest FROM manifests x
         WHERE x.tenant_id = $1 AND x.repo_id = u.repo AND x.digest = decode(u.digest, 'hex') AND x.expire_at IS NULL OFFSET 0) AS m`
	indexedManifestsSQLite = `
SELECT m.repo_id, m.digest
  FROM json_each($2) j
 CROSS JOIN manifests m ON m.tenant_id = $1 AND m.repo_id = j.value ->> 'repo' AND m.digest = unhex(j.value ->> 'digest') AND m.expire_at IS NULL`

	indexedEntriesPostgres = `
SELECT e.kind, e.term, e.repo_id, e.subject
  FROM ` + subjectsPostgres + `
 CROSS JOIN LATERAL (
        SELECT x.kind, x.term, x.repo_id, x.subject FROM search_entries x
         WHERE x.tenant_id = $1 AND x.repo_id = u.repo AND x.subject = u.subject OFFSET 0) AS e`
	indexedEntriesSQLite = `
SELECT e.kind, e.term, e.repo_id, e.subject
  FROM json_each($2) j
 CROSS JOIN search_entries e ON e.tenant_id = $1 AND e.repo_id = j.value ->> 'repo' AND e.subject = j.value ->> 'subject'`

	entriesPostgres = `json_to_recordset(CAST($2 AS json)) AS u (kind smallint, term text, repo bigint, subject text, digest text)`

	insertSearchEntriesPostgres = `
INSERT INTO search_entries (tenant_id, kind, term, repo_id, subject, digest)
SELECT $1, u.kind, u.term, u.repo, u.subject, decode(u.digest, 'hex') FROM ` + entriesPostgres + `
ON CONFLICT (tenant_id, kind, term, repo_id, subject) DO NOTHING`
	insertSearchEntriesSQLite = `
INSERT INTO search_entries (tenant_id, kind, term, repo_id, subject, digest)
SELECT $1, j.value ->> 'kind', j.value ->> 'term', j.value ->> 'repo', j.value ->> 'subject', unhex(j.value ->> 'digest') FROM json_each($2) j
 WHERE TRUE
ON CONFLICT (tenant_id, kind, term, repo_id, subject) DO NOTHING`

	deleteSearchEntriesPostgres = `
DELETE FROM search_entries e USING ` + entriesPostgres + `
 WHERE e.tenant_id = $1 AND e.kind = u.kind AND e.term = u.term AND e.repo_id = u.repo AND e.subject = u.subject`
	deleteSearchEntriesSQLite = `
DELETE FROM search_entries
 WHERE tenant_id = $1 AND (kind, term, repo_id, subject) IN (
       SELECT j.value ->> 'kind', j.value ->> 'term', j.value ->> 'repo', j.value ->> 'subject' FROM json_each($2) j)`

	termsPostgres = `json_to_recordset(CAST($2 AS json)) AS u (kind smallint, term text, grams json)`

	// Terms that have no entry, but are there.
	emptyTermsPostgres = `
SELECT s.kind, s.term
  FROM ` + termsPostgres + `
 CROSS JOIN LATERAL (
        SELECT x.kind, x.term FROM search_terms x WHERE x.tenant_id = $1 AND x.kind = u.kind AND x.term = u.term OFFSET 0) AS s
 WHERE NOT EXISTS (SELECT 1 FROM search_entries e WHERE e.tenant_id = $1 AND e.kind = s.kind AND e.term = s.term)`
	emptyTermsSQLite = `
SELECT s.kind, s.term
  FROM json_each($2) j
 CROSS JOIN search_terms s ON s.tenant_id = $1 AND s.kind = j.value ->> 'kind' AND s.term = j.value ->> 'term'
 WHERE NOT EXISTS (SELECT 1 FROM search_entries e WHERE e.tenant_id = $1 AND e.kind = s.kind AND e.term = s.term)`

	// Terms that are there.
	knownTermsPostgres = `
SELECT s.kind, s.term
  FROM ` + termsPostgres + `
 CROSS JOIN LATERAL (
        SELECT x.kind, x.term FROM search_terms x WHERE x.tenant_id = $1 AND x.kind = u.kind AND x.term = u.term OFFSET 0) AS s`
	knownTermsSQLite = `
SELECT s.kind, s.term
  FROM json_each($2) j
 CROSS JOIN search_terms s ON s.tenant_id = $1 AND s.kind = j.value ->> 'kind' AND s.term = j.value ->> 'term'`

	insertTermsPostgres = `
INSERT INTO search_terms (tenant_id, kind, term, grams)
SELECT $1, u.kind, u.term, ARRAY(SELECT CAST(g.gram AS integer) FROM json_array_elements_text(u.grams) AS g (gram)) FROM ` + termsPostgres
	insertTermsSQLite = `
INSERT INTO search_terms (tenant_id, kind, term) SELECT $1, j.value ->> 'kind', j.value ->> 'term' FROM json_each($2) j`
	insertTrigramsSQLite = `
INSERT INTO search_trigrams (rowid, grams)
SELECT s.id, j.value ->> 'words'
  FROM json_each($2) j
 CROSS JOIN search_terms s ON s.tenant_id = $1 AND s.kind = j.value ->> 'kind' AND s.term = j.value ->> 'term'`

	deleteTrigramsSQLite = `
DELETE FROM search_trigrams WHERE rowid IN (
       SELECT s.id FROM json_each($2) j
        CROSS JOIN search_terms s ON s.tenant_id = $1 AND s.kind = j.value ->> 'kind' AND s.term = j.value ->> 'term')`
	deleteTermsPostgres = `
DELETE FROM search_terms s USING ` + termsPostgres + ` WHERE s.tenant_id = $1 AND s.kind = u.kind AND s.term = u.term`
	deleteTermsSQLite = `
DELETE FROM search_terms
 WHERE tenant_id = $1 AND (kind, term) IN (SELECT j.value ->> 'kind', j.value ->> 'term' FROM json_each($2) j)`

	addGramsPostgres = `
INSERT INTO search_grams AS k (tenant_id, gram, terms)
SELECT $1, u.gram, u.terms FROM json_to_recordset(CAST($2 AS json)) AS u (gram integer, terms bigint)
ON CONFLICT (tenant_id, gram) DO UPDATE SET terms = k.terms + excluded.terms`
	addGramsSQLite = `
INSERT INTO search_grams AS k (tenant_id, gram, terms)
SELECT $1, j.value ->> 'gram', j.value ->> 'terms' FROM json_each($2) j WHERE TRUE
ON CONFLICT (tenant_id, gram) DO UPDATE SET terms = k.terms + excluded.terms`
	dropGramsPostgres = `
DELETE FROM search_grams k USING json_to_recordset(CAST($2 AS json)) AS u (gram integer, terms bigint)
 WHERE k.tenant_id = $1 AND k.gram = u.gram AND k.terms <= 0`
	dropGramsSQLite = `
DELETE FROM search_grams WHERE tenant_id = $1 AND gram IN (SELECT j.value ->> 'gram' FROM json_each($2) j) AND terms <= 0`
)

// searchSubject is what entries are about: a repository, a tag or a manifest.
type searchSubject struct {
	Repo    int64  `json:"repo"`
	Subject string `json:"subject"`
	Digest  string `json:"digest"` // of a manifest, as stored, in hexadecimal
}

func tagSubject(repo int64, tag string) searchSubject { return searchSubject{Repo: repo, Subject: tag} }

func manifestSubject(repo int64, d oci.Digest) searchSubject {
	stored := hex.EncodeToString(d.Bytes())
	return searchSubject{Repo: repo, Subject: "@" + stored, Digest: stored}
}

// searchEntry is a row of search_entries.
type searchEntry struct {
	Kind    meta.SearchKind `json:"kind"`
	Term    string          `json:"term"`
	Repo    int64           `json:"repo"`
	Subject string          `json:"subject"`
	Digest  *string         `json:"digest"`
}

// searchTerm is a row of search_terms.
type searchTerm struct {
	Kind  meta.SearchKind `json:"kind"`
	Term  string          `json:"term"`
	Grams []int32         `json:"grams,omitempty"`
	Words string          `json:"words,omitempty"`
}

// indexer is one step of the index, in a transaction.
type indexer struct {
	Tx
	tenant   tenant.ID
	subjects map[searchSubject]bool
	texts    map[oci.Digest][]meta.SearchText // of manifests
	kept     map[searchSubject]bool           // manifests that are there, and whose texts are not known
}

// newIndexer is a step about what changed, of one tenant, with each one's repository.
func newIndexer(t Tx, changes []searchChange, texts map[oci.Digest][]meta.SearchText) *indexer {
	x := &indexer{Tx: t, subjects: map[searchSubject]bool{}, texts: texts, kept: map[searchSubject]bool{}}
	for _, c := range changes {
		x.tenant = c.tenant
		x.subjects[c.subject] = true
		x.subjects[searchSubject{Repo: c.repo}] = true
	}
	return x
}

// run makes the entries of the subjects what they have to be.
func (x *indexer) run() error {
	if len(x.subjects) == 0 {
		return nil
	}
	wanted, err := x.wanted()
	if err != nil {
		return err
	}
	have, err := x.have()
	if err != nil {
		return err
	}
	var added, removed []searchEntry
	for key, e := range wanted {
		if _, there := have[key]; !there {
			added = append(added, e)
		}
	}
	for key, e := range have {
		if _, there := wanted[key]; !there && (e.Kind <= meta.SearchDigest || !x.kept[searchSubject{Repo: e.Repo, Subject: e.Subject}]) {
			removed = append(removed, e)
		}
	}
	if len(removed) > 0 {
		if err := x.queue(x.Pick(deleteSearchEntriesSQLite, deleteSearchEntriesPostgres), removed); err != nil {
			return err
		}
	}
	if len(added) > 0 {
		if err := x.queue(x.Pick(insertSearchEntriesSQLite, insertSearchEntriesPostgres), added); err != nil {
			return err
		}
	}
	if len(added)+len(removed) == 0 {
		return nil
	}
	return x.updateTerms(added, removed)
}

// queue runs a statement about a list.
func (x *indexer) queue(query string, rows any) error {
	body, err := json.Marshal(rows)
	if err != nil {
		return err
	}
	return x.Queue(query, x.tenant, string(body))
}

// read runs a query about a list.
func (x *indexer) read(query string, rows any, each func(Scan) error) error {
	body, err := json.Marshal(rows)
	if err != nil {
		return err
	}
	return x.List(query, []any{x.tenant, string(body)}, each)
}

// wanted are the entries that the subjects have to have.
func (x *indexer) wanted() (map[searchEntry]searchEntry, error) {
	var repos []int64
	var tags, manifests []searchSubject
	for s := range x.subjects {
		switch {
		case s.Subject == "":
			repos = append(repos, s.Repo)
		case s.Digest == "":
			tags = append(tags, s)
		default:
			manifests = append(manifests, s)
		}
	}
	names := map[int64]string{}
	wanted := map[searchEntry]searchEntry{}
	add := func(e searchEntry) {
		key := e
		key.Digest = nil
		wanted[key] = e
	}
	err := x.read(x.Pick(indexedRepositoriesSQLite, indexedRepositoriesPostgres), repos, func(scan Scan) error {
		var id int64
		var name string
		err := scan(&id, &name)
		names[id] = name
		add(searchEntry{Kind: meta.SearchRepository, Term: meta.SearchTerm(name), Repo: id})
		return err
	})
	if err == nil && len(tags) > 0 {
		err = x.read(x.Pick(indexedTagsSQLite, indexedTagsPostgres), tags, func(scan Scan) error {
			var repo int64
			var tag string
			err := scan(&repo, &tag)
			if _, there := names[repo]; there {
				add(searchEntry{Kind: meta.SearchTag, Term: meta.SearchTerm(tag), Repo: repo, Subject: tag})
			}
			return err
		})
	}
	if err == nil && len(manifests) > 0 {
		err = x.read(x.Pick(indexedManifestsSQLite, indexedManifestsPostgres), manifests, func(scan Scan) error {
			var repo int64
			var d oci.Digest
			err := scan(&repo, digestScanner{&d})
			if _, there := names[repo]; there {
				subject := manifestSubject(repo, d)
				texts, known := x.texts[d]
				if !known {
					x.kept[searchSubject{Repo: repo, Subject: subject.Subject}] = true
				}
				for _, text := range append([]meta.SearchText{{Kind: meta.SearchDigest, Text: d.Hex()}}, texts...) {
					add(searchEntry{Kind: text.Kind, Term: meta.SearchTerm(text.Text), Repo: repo, Subject: subject.Subject, Digest: &subject.Digest})
				}
			}
			return err
		})
	}
	return wanted, err
}

// have are the entries that the subjects have.
func (x *indexer) have() (map[searchEntry]searchEntry, error) {
	var all []searchSubject
	for s := range x.subjects {
		all = append(all, s)
	}
	have := map[searchEntry]searchEntry{}
	err := x.read(x.Pick(indexedEntriesSQLite, indexedEntriesPostgres), all, func(scan Scan) error {
		var e searchEntry
		err := scan(&e.Kind, &e.Term, &e.Repo, &e.Subject)
		have[e] = e
		return err
	})
	return have, err
}

// updateTerms adds the terms that are new, and removes those without an entry.
func (x *indexer) updateTerms(added, removed []searchEntry) error {
	fresh, err := x.without(x.Pick(knownTermsSQLite, knownTermsPostgres), partTerms(added))
	if err != nil {
		return err
	}
	var empty []searchTerm
	if asked := partTerms(removed); len(asked) > 0 {
		err := x.read(x.Pick(emptyTermsSQLite, emptyTermsPostgres), asked, func(scan Scan) error {
			var t searchTerm
			err := scan(&t.Kind, &t.Term)
			empty = append(empty, t)
			return err
		})
		if err != nil {
			return err
		}
	}
	changed := map[int32]int64{}
	for i, t := range fresh {
		fresh[i].Grams = gramsOf(x.tenant, t.Kind, t.Term)
		fresh[i].Words = gramWords(fresh[i].Grams, " ")
		for _, g := range fresh[i].Grams {
			changed[g]++
		}
	}
	for _, t := range empty {
		for _, g := range gramsOf(x.tenant, t.Kind, t.Term) {
			changed[g]--
		}
	}
	sqlite := x.Pick("sqlite", "") != ""
	if len(fresh) > 0 {
		if err := x.queue(x.Pick(insertTermsSQLite, insertTermsPostgres), fresh); err != nil {
			return err
		}
		if sqlite {
			if err := x.queue(insertTrigramsSQLite, fresh); err != nil {
				return err
			}
		}
	}
	if len(empty) > 0 {
		if sqlite {
			if err := x.queue(deleteTrigramsSQLite, empty); err != nil {
				return err
			}
		}
		if err := x.queue(x.Pick(deleteTermsSQLite, deleteTermsPostgres), empty); err != nil {
			return err
		}
	}
	return x.count(changed)
}

// partTerms are the distinct terms of entries that are found by a part of them.
func partTerms(entries []searchEntry) []searchTerm {
	distinct := map[searchEntry]bool{}
	var terms []searchTerm
	for _, e := range entries {
		key := searchEntry{Kind: e.Kind, Term: e.Term}
		if e.Kind.Partly() && len([]rune(e.Term)) >= meta.SearchGram && !distinct[key] {
			distinct[key] = true
			terms = append(terms, searchTerm{Kind: e.Kind, Term: e.Term})
		}
	}
	return terms
}

// without are the terms that a query about them does not return.
func (x *indexer) without(query string, terms []searchTerm) ([]searchTerm, error) {
	if len(terms) == 0 {
		return nil, nil
	}
	there := map[searchEntry]bool{}
	err := x.read(query, terms, func(scan Scan) error {
		var e searchEntry
		err := scan(&e.Kind, &e.Term)
		there[e] = true
		return err
	})
	return slices.DeleteFunc(terms, func(t searchTerm) bool { return there[searchEntry{Kind: t.Kind, Term: t.Term}] }), err
}

// gramChange is how many more terms have a gram.
type gramChange struct {
	Gram  int32 `json:"gram"`
	Terms int64 `json:"terms"`
}

func (x *indexer) count(changed map[int32]int64) error {
	var all, fewer []gramChange
	for g, n := range changed {
		switch {
		case n < 0:
			fewer = append(fewer, gramChange{g, n})
			fallthrough
		case n > 0:
			all = append(all, gramChange{g, n})
		}
	}
	if len(all) > 0 {
		if err := x.queue(x.Pick(addGramsSQLite, addGramsPostgres), all); err != nil {
			return err
		}
	}
	if len(fewer) == 0 {
		return nil
	}
	return x.queue(x.Pick(dropGramsSQLite, dropGramsPostgres), fewer)
}

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
