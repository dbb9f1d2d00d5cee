package sqlmeta

import (
	"encoding/hex"
	"encoding/json"

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
