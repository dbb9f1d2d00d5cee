package sqlmeta

import (
	"slices"

	"github.com/berth-registry/berth/pkg/meta"
)

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
