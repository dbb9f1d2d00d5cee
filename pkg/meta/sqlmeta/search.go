package sqlmeta

import (
	"context"
	"encoding/json"
	"math"
	"slices"
	"strings"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

// An entry may be about something that is gone, or in a repository that is: it is read,
// and says so by a NULL.
const searchColumns = `
SELECT e.term, e.repo_id, e.subject,
       (SELECT g.slug || '/' || r.name FROM repositories r JOIN registries g ON g.tenant_id = r.tenant_id AND g.id = r.registry_id
         WHERE r.tenant_id = e.tenant_id AND r.id = e.repo_id AND r.state = 'active' AND r.listed AND g.state = 'active' AND g.upstream_id IS NULL),
       CASE WHEN e.digest IS NULL
            THEN (SELECT t.manifest FROM tags t WHERE t.tenant_id = e.tenant_id AND t.repo_id = e.repo_id AND t.name = e.subject)
            ELSE (SELECT m.digest FROM manifests m WHERE m.tenant_id = e.tenant_id AND m.repo_id = e.repo_id AND m.digest = e.digest AND m.expire_at IS NULL)
       END`

const (
	searchBetween = searchColumns + `
  FROM search_entries e
 WHERE e.tenant_id = $1 AND e.kind = $2 AND (e.term, e.repo_id, e.subject) > ($3, $4, $5) AND e.term <= $6
 ORDER BY e.term, e.repo_id, e.subject LIMIT $7`

	// The entries of some terms, which are in order. SQLite reads them in the order of its
	// loops, and no further than the limit.
	searchTermsPostgres = searchColumns + `
  FROM (SELECT u.n, x.tenant_id, x.term, x.repo_id, x.subject, x.digest
          FROM json_array_elements_text(CAST($3 AS json)) WITH ORDINALITY AS u (term, n)
         CROSS JOIN LATERAL (
                SELECT y.tenant_id, y.term, y.repo_id, y.subject, y.digest FROM search_entries y
                 WHERE y.tenant_id = $1 AND y.kind = $2 AND y.term = u.term
                 ORDER BY y.repo_id, y.subject LIMIT $4) AS x
         ORDER BY u.n, x.repo_id, x.subject LIMIT $4) AS e
 ORDER BY e.n, e.repo_id, e.subject`
	searchTermsSQLite = searchColumns + `
  FROM json_each($3) j CROSS JOIN search_entries e ON e.tenant_id = $1 AND e.kind = $2 AND e.term = j.value
 LIMIT $4`

	walkSearchTerms = `
SELECT s.term FROM search_terms s WHERE s.tenant_id = $1 AND s.kind = $2 AND s.term > $3 ORDER BY s.term LIMIT $4`

	findSearchTermsPostgres = `
SELECT f.term FROM berth_search_terms(ARRAY(SELECT CAST(u.gram AS integer) FROM json_array_elements_text(CAST($3 AS json)) AS u (gram))) AS f
 WHERE f.tenant_id = $1 AND f.kind = $2 LIMIT $4`
	findSearchTermsSQLite = `
SELECT s.term FROM search_trigrams x CROSS JOIN search_terms s ON s.id = x.rowid
 WHERE x.search_trigrams MATCH $3 AND s.tenant_id = $1 AND s.kind = $2 LIMIT $4`

	countSearchGramsPostgres = `
SELECT g.gram, g.terms FROM search_grams g
 WHERE g.tenant_id = $1 AND g.gram = ANY (ARRAY(SELECT CAST(u.gram AS integer) FROM json_array_elements_text(CAST($2 AS json)) AS u (gram)))`
	countSearchGramsSQLite = `
SELECT g.gram, g.terms FROM json_each($2) j CROSS JOIN search_grams g ON g.tenant_id = $1 AND g.gram = j.value`
)

// Bounds of one call of Search.
const (
	// mostPostings is how many entries of the index of trigrams are intersected.
	mostPostings = 50_000
	// mostMatches is how many terms that match are sorted.
	mostMatches = 2_000
	// mostWalked is how many terms are compared one after the other, where there are more.
	mostWalked = 5_000
	// mostGrams is how many trigrams of a text are looked for.
	mostGrams = 6
)

// lastTerm is greater than all that begins with a text, if it is added to it.
const lastTerm = "\U0010ffff\U0010ffff"

// searcher is one call of Search.
type searcher struct {
	*Records
	ctx    context.Context //nolint:containedctx // of the one request
	tenant tenant.ID
	text   string
	left   int // entries that may still be read
	page   meta.SearchPage
}

// Search implements meta.Search.
func (s *Records) Search(ctx context.Context, t tenant.ID, q meta.SearchQuery) (meta.SearchPage, error) {
	c := searcher{Records: s, ctx: ctx, tenant: t, text: meta.SearchTerm(q.Text), left: q.Size}
	c.page.Next = q.After
	for rank := q.After.Rank; rank <= meta.SearchPart; rank++ {
		for _, kind := range q.Kinds {
			from := meta.SearchPosition{Rank: rank, Kind: kind}
			if rank == q.After.Rank {
				if kind < q.After.Kind {
					continue
				}
				if kind == q.After.Kind {
					from = q.After
				}
			}
			done, err := c.class(from)
			if err != nil {
				return meta.SearchPage{}, err
			}
			if !done {
				c.page.More = true
				return c.page, nil
			}
		}
	}
	return c.page, nil
}

// class reads the entries of one rank and kind, and reports whether it read them all.
func (c *searcher) class(from meta.SearchPosition) (bool, error) {
	text := c.text
	if from.Kind == meta.SearchDigest {
		_, hex, found := strings.Cut(text, ":")
		if found && (text[:len(text)-len(hex)] == "sha256:" || text[:len(text)-len(hex)] == "sha512:") {
			text = hex
		}
	}
	begins := from.Term == "" && from.Repo == 0
	switch from.Rank {
	case meta.SearchExact:
		if begins {
			from.Term = text
		}
		return c.between(from, text)
	case meta.SearchPrefix:
		if begins {
			from.Term, from.Repo = text, math.MaxInt64
		}
		return c.between(from, text+lastTerm)
	default:
		if !from.Kind.Partly() || len([]rune(text)) < meta.SearchGram {
			return true, nil
		}
		return c.parts(from)
	}
}

// between reads entries after a position up to a last term.
func (c *searcher) between(from meta.SearchPosition, last string) (bool, error) {
	if c.left <= 0 {
		return false, nil
	}
	limit := c.left
	n, err := c.entries(from, searchBetween, c.tenant, int(from.Kind), from.Term, from.Repo, from.Subject, last, limit)
	return n < limit, err
}

// parts reads entries of terms that have the text inside.
func (c *searcher) parts(from meta.SearchPosition) (bool, error) {
	if from.Repo > 0 { // in the middle of a term
		if done, err := c.between(from, from.Term); !done || err != nil {
			return false, err
		}
	}
	terms, walked, err := c.matching(from)
	if err != nil {
		return false, err
	}
	for len(terms) > 0 {
		if c.left <= 0 {
			return false, nil
		}
		some := terms[:min(len(terms), c.left)]
		list, err := json.Marshal(some)
		if err != nil {
			return false, err
		}
		limit := c.left
		at := meta.SearchPosition{Rank: from.Rank, Kind: from.Kind}
		n, err := c.entries(at, c.engine.Pick(searchTermsSQLite, searchTermsPostgres), c.tenant, int(from.Kind), string(list), limit)
		if err != nil || n == limit {
			return false, err
		}
		terms = terms[len(some):]
	}
	if walked == "" {
		return true, nil
	}
	c.page.Next = meta.SearchPosition{Rank: from.Rank, Kind: from.Kind, Term: walked, Repo: math.MaxInt64}
	return false, nil
}

// matching are the terms after that of a position that have the text inside and do not
// begin with it, in order. Where they are too many to sort, they are those up to a term,
// which it returns.
func (c *searcher) matching(from meta.SearchPosition) ([]string, string, error) {
	grams, err := c.rarest(from.Kind)
	if err != nil {
		return nil, "", err
	}
	if len(grams) > 0 {
		var wanted any = gramWords(grams, " AND ")
		if c.engine.Pick("", "json") == "json" {
			list, err := json.Marshal(grams)
			if err != nil {
				return nil, "", err
			}
			wanted = string(list)
		}
		found, err := c.terms(c.engine.Pick(findSearchTermsSQLite, findSearchTermsPostgres), c.tenant, int(from.Kind), wanted, mostMatches+1)
		if err != nil {
			return nil, "", err
		}
		if len(found) <= mostMatches {
			slices.Sort(found)
			return c.inside(found, from.Term), "", nil
		}
	}
	walked, err := c.terms(walkSearchTerms, c.tenant, int(from.Kind), from.Term, mostWalked)
	if err != nil || len(walked) < mostWalked {
		return c.inside(walked, from.Term), "", err
	}
	return c.inside(walked, from.Term), walked[len(walked)-1], nil
}

// inside are the terms after a term that have the text inside and do not begin with it.
func (c *searcher) inside(terms []string, after string) []string {
	return slices.DeleteFunc(terms, func(term string) bool {
		return term <= after || strings.Index(term, c.text) < 1
	})
}

// rarest are grams of the text whose terms are few enough to be intersected.
func (c *searcher) rarest(kind meta.SearchKind) ([]int32, error) {
	all := gramsOf(c.tenant, kind, c.text)
	list, err := json.Marshal(all)
	if err != nil {
		return nil, err
	}
	terms := map[int32]int64{}
	err = c.engine.Read(c.ctx, c.tenant, c.engine.Pick(countSearchGramsSQLite, countSearchGramsPostgres), []any{c.tenant, string(list)},
		func() { clear(terms) }, func(scan Scan) error {
			var gram int32
			var n int64
			err := scan(&gram, &n)
			terms[gram] = n
			return err
		})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(x, y int32) int { return int(terms[x] - terms[y]) })
	sum := int64(0)
	for i, gram := range all {
		if sum += terms[gram]; i == mostGrams || sum > mostPostings {
			return all[:i], nil
		}
	}
	return all, nil
}

func (c *searcher) terms(query string, args ...any) ([]string, error) {
	return list(c.ctx, c.Records, c.tenant, func(scan Scan) (string, error) {
		var term string
		err := scan(&term)
		return term, err
	}, query, args...)
}

// entries adds what a query finds to the page, and returns how many entries it read.
func (c *searcher) entries(class meta.SearchPosition, query string, args ...any) (int, error) {
	rows, err := list(c.ctx, c.Records, c.tenant, func(scan Scan) (meta.SearchHit, error) {
		h := meta.SearchHit{At: class}
		var place string
		err := scan(&h.At.Term, &h.At.Repo, &h.At.Subject, textScanner{&place}, digestScanner{&h.Digest})
		h.Registry, h.Repository, _ = strings.Cut(place, "/")
		return h, err
	}, query, args...)
	if err != nil || len(rows) == 0 {
		return 0, err
	}
	c.left -= len(rows)
	c.page.Next = rows[len(rows)-1].At
	for _, h := range rows {
		if h.Repository == "" || h.Digest == oci.Digest("") && h.At.Kind != meta.SearchRepository {
			continue
		}
		if h.At.Kind == meta.SearchTag {
			h.Tag = h.At.Subject
		}
		c.page.Hits = append(c.page.Hits, h)
	}
	return len(rows), nil
}
