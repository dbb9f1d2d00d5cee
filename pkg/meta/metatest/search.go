package metatest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/berth-registry/berth/pkg/dice"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// indexed indexes all that is due.
func (w world) indexed() {
	w.t.Helper()
	for {
		n, err := w.Store.IndexSearch(w.t.Context(), 100, nil)
		w.must(err)
		if n == 0 {
			return
		}
	}
}

// search reads all results of a text, with so many entries a page.
func (w world) searched(t tenant.ID, text string, size int, kinds ...meta.SearchKind) []meta.SearchHit {
	w.t.Helper()
	var all []meta.SearchHit
	q := meta.SearchQuery{Text: text, Kinds: kinds, Size: size}
	if len(kinds) == 0 {
		q.Kinds = meta.SearchKinds
	}
	for {
		page, err := w.Store.Search(w.t.Context(), t, q)
		w.must(err)
		all = append(all, page.Hits...)
		if !page.More {
			return all
		}
		if page.Next == q.After {
			w.t.Fatalf("searching %q stops at %+v", text, q.After)
		}
		q.After = page.Next
	}
}

// shown are results as text: app, app:tag, app@digest.
func shown(hits []meta.SearchHit) []string {
	names := []string{}
	for _, h := range hits {
		switch {
		case h.Tag != "":
			names = append(names, h.Repository+":"+h.Tag)
		case h.Digest != "":
			names = append(names, h.Repository+"@"+h.Digest.String()[:12])
		default:
			names = append(names, h.Repository)
		}
	}
	return names
}

func (w world) searches(text string, want ...string) {
	w.t.Helper()
	for _, size := range []int{100, 1} {
		if got := shown(w.searched(w.tenant, text, size, meta.SearchRepository, meta.SearchTag)); !slices.Equal(got, want) {
			w.t.Errorf("%q by %d finds %q, want %q", text, size, got, want)
		}
	}
}

// testSearch tests what is found by its names.
func testSearch(t *testing.T, open Open) {
	t.Run("W210 ranks exact, prefix and part, then kinds, then names", func(t *testing.T) {
		w := newWorld(t, open)
		for _, names := range [][]string{
			{"team/api", "v1.2.3", "V1.2.4", "latest"}, {"api", "api", "api-2", "my-api"}, {"apinator", "x1.2", "latest"},
		} {
			r := w.repo(names[0])
			w.put(r, w.image(nil, w.push(r, "config")), names[1:]...)
		}
		w.searches("api") // nothing is indexed yet
		w.indexed()
		w.searches("api", "api", "api:api", "apinator", "api:api-2", "team/api", "api:my-api")
		w.searches("API", "api", "api:api", "apinator", "api:api-2", "team/api", "api:my-api")
		w.searches("1.2", "team/api:v1.2.3", "team/api:V1.2.4", "apinator:x1.2")
		w.searches("ap", "api", "apinator", "api:api", "api:api-2") // too short for a part
		w.searches("v", "team/api:v1.2.3", "team/api:V1.2.4")
		w.searches("atest", "team/api:latest", "apinator:latest")
	})
	t.Run("W211 takes every text as it is", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		w.put(r, w.image(nil, w.push(r, "config")), "a_b_c", "axbxc", "a.b.c")
		w.indexed()
		w.searches("a_b", "app:a_b_c")
		w.searches("_b_", "app:a_b_c")
		w.searches("%")
		for _, text := range []string{
			"%%%", "___", "a%c", `a"b`, `" OR "`, "'; DROP TABLE tags; --", "*", "a*", `\`, `\\\`, "\x00", "a\x00b", "a\xffb", "\xff\xfe\xfd", "ÄÖÜ", "ſsß", "日本語", "😀😀😀",
			"(((", "NEAR(a b)", "^abc", "a AND b", "-abc", strings.Repeat("x", 10_000), strings.Repeat("ü", 300), lastRune, lastRune + lastRune + lastRune, "",
		} {
			for _, hit := range w.searched(w.tenant, text, 10) {
				if text != "" && text != "a*" { // an empty text begins all
					t.Errorf("%q finds %+v", text, hit)
				}
			}
		}
	})
	t.Run("W212 follows deletes and undeletes", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("team/app")
		m := w.put(r, w.image(nil, w.push(r, "config")), "stable", "edge")
		w.indexed()
		w.searches("stable", "team/app:stable")
		w.must(w.Store.DeleteTag(t.Context(), cause(), r, "stable"))
		w.searches("stable") // at once
		w.indexed()
		w.put(r, meta.ManifestPut{Manifest: m, Parsed: w.image(nil, w.push(r, "config")).Parsed}, "stable")
		w.indexed()
		w.searches("stable", "team/app:stable")
		w.must(w.Store.DeleteRepository(t.Context(), cause(), r))
		w.searches("app")
		w.searches("stable")
		w.indexed()
		w.must(w.Store.UndeleteRepository(t.Context(), meta.RepositoryUndelete{Repo: r, By: cause()}))
		w.searches("app", "team/app") // at once
		w.searches("stable", "team/app:stable")
		w.must(w.tryDelete(r, m.Digest))
		w.searches("edge")
		w.searches("app")
		w.must(w.Store.DeleteRepository(t.Context(), cause(), r))
		w.collectAll()
		w.indexed()
		w.searches("app")
		if got := w.searched(w.tenant, m.Digest.Hex()[:5], 10); len(got) != 0 {
			t.Errorf("%+v", got)
		}
		for _, table := range []string{"search_changes", "search_entries", "search_terms", "search_grams"} {
			w.isEmpty(table)
		}
	})
	t.Run("W212 forgets a repository that was empty when it went", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("secret-name")
		m := w.put(r, w.image(nil, w.push(r, "config")), "v1")
		w.indexed()
		w.searches("secret", "secret-name")
		w.must(w.tryDelete(r, m.Digest))
		w.collectAll()
		w.indexed()
		w.searches("secret")
		w.must(w.Store.DeleteRepository(t.Context(), cause(), r))
		w.collectAll()
		w.indexed()
		for _, table := range []string{"search_changes", "search_entries", "search_terms", "search_grams"} {
			w.isEmpty(table)
		}
	})
	t.Run("W221 loses no change to another indexer, or to pushes and deletes beside it", func(t *testing.T) {
		w := newWorld(t, open)
		put := func(r meta.Repo, tag string) { w.put(r, w.image(nil, w.push(r, "config")), tag) }
		places := []meta.Repo{w.repo("one"), w.repo("two")}
		for _, r := range places {
			put(r, "seed")
		}
		var pushes, indexers sync.WaitGroup
		stop := make(chan struct{})
		for range 2 {
			indexers.Go(func() {
				for {
					_, err := w.Store.IndexSearch(t.Context(), 3, nil)
					if err != nil {
						t.Error(err)
					}
					select {
					case <-stop:
						return
					default:
					}
				}
			})
		}
		for i, r := range places {
			pushes.Go(func() {
				image := w.image(nil, w.push(r, "config"))
				for n := range 15 {
					tag := fmt.Sprintf("shared-%d", n)
					if err := w.tryPut(r, image, tag); err != nil {
						t.Error(err)
					}
					if n%3 == i {
						if err := w.Store.DeleteTag(t.Context(), cause(), r, tag); err != nil {
							t.Error(err)
						}
					}
				}
			})
		}
		pushes.Wait()
		close(stop)
		indexers.Wait()
		w.indexed()
		hits := shown(w.searched(w.tenant, "hared", 7, meta.SearchTag))
		if len(hits) != 20 || slices.Contains(hits, "one:shared-0") || !slices.Contains(hits, "two:shared-0") || slices.Contains(hits, "two:shared-4") {
			t.Errorf("%q", hits)
		}
		for i, r := range places {
			for n := range 15 {
				if n%3 != i {
					w.must(w.Store.DeleteTag(t.Context(), cause(), r, fmt.Sprintf("shared-%d", n)))
				}
			}
		}
		w.indexed()
		w.searches("hared")
	})
	t.Run("W213 indexes what is older, and again", func(t *testing.T) {
		w := newWorld(t, open)
		for _, name := range []string{"one", "two", "three"} {
			r := w.repo(name)
			w.put(r, w.image(nil, w.push(r, name)), "common", "of-"+name)
		}
		// As an upgrade finds it.
		w.must(w.SQL.Exec(`DELETE FROM search_changes`))
		for i, limit := range []int{1, 1, 100} {
			if i > 0 {
				w.must(w.Store.RebuildSearch(t.Context(), cause()))
			}
			for n := 1; n > 0; {
				var err error
				n, err = w.Store.IndexSearch(t.Context(), limit, nil)
				w.must(err)
			}
			w.searches("common", "one:common", "two:common", "three:common")
			w.searches("of-t", "three:of-three", "two:of-two")
		}
		// Entries of nothing, and one that is missing.
		w.must(w.SQL.Exec(`INSERT INTO search_entries (tenant_id, kind, term, repo_id, subject) VALUES (1, 2, 'nothing', 1, 'nothing'), (1, 1, 'nowhere', 77, '');
			DELETE FROM search_entries WHERE subject = 'of-two'`))
		w.searches("of-two")
		w.must(w.Store.RebuildSearch(t.Context(), cause()))
		w.indexed()
		w.searches("of-two", "two:of-two")
		w.must(w.SQL.Exec(`INSERT INTO search_entries (tenant_id, kind, term, repo_id, subject) VALUES (1, 2, 'nothing', 1, 'nothing'), (1, 1, 'nowhere', 77, '')`)) // were removed
	})
	t.Run("W214 finds digests by how they begin", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		m := w.put(r, w.image(nil, w.push(r, "config")))
		w.indexed()
		hex := m.Digest.Hex()
		for _, text := range []string{hex, hex[:1], hex[:12], m.Digest.String(), "SHA256:" + strings.ToUpper(hex[:8])} {
			got := w.searched(w.tenant, text, 10, meta.SearchDigest)
			if len(got) != 1 || got[0].Digest != m.Digest || got[0].Repository != "app" {
				t.Errorf("%q finds %+v", text, got)
			}
		}
		if got := w.searched(w.tenant, hex[3:12], 10, meta.SearchDigest); len(got) != 0 {
			t.Errorf("%+v", got)
		}
	})
	t.Run("W215 walks bounded steps through what is frequent", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		w.put(r, w.image(nil, w.push(r, "config")), "seed", "zz-last")
		w.must(w.SQL.Exec(`WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2100)
			INSERT INTO tags (tenant_id, repo_id, name, manifest, version) SELECT t.tenant_id, t.repo_id, 'a-frequent-' || n.i, t.manifest, 1 FROM tags t CROSS JOIN n WHERE t.name = 'seed'`))
		for n := 1; n > 0; {
			var err error
			n, err = w.Store.IndexSearch(t.Context(), 1000, nil)
			w.must(err)
		}
		hits := w.searched(w.tenant, "frequent", 500)
		if len(hits) != 2100 || !slices.IsSortedFunc(hits, compareHits) {
			t.Errorf("%d", len(hits))
		}
		w.searches("last", "app:zz-last")
		page, err := w.Store.Search(t.Context(), w.tenant, meta.SearchQuery{Text: "frequent", Kinds: meta.SearchKinds, Size: 10})
		if err != nil || len(page.Hits) != 10 || !page.More {
			t.Errorf("%+v, %v", page, err)
		}
	})
	t.Run("W219 indexes what manifests are described by, and keeps it where that cannot be read", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		m := w.put(r, w.image(nil, w.push(r, "config")), "v1")
		texts := []meta.SearchText{
			{Kind: meta.SearchLabel, Text: "Team=Blue\x00%_"}, {Kind: meta.SearchPlatform, Text: "linux/arm64"}, {Kind: meta.SearchLabel, Text: strings.Repeat("ü", 1000)},
		}
		var refused error
		indexed := func() {
			t.Helper()
			for n := 1; n > 0; {
				var err error
				n, err = w.Store.IndexSearch(t.Context(), 100, func(_ context.Context, at meta.Repo, found meta.Manifest) ([]meta.SearchText, error) {
					if at != r || found.Digest != m.Digest || string(found.Payload) != string(m.Payload) {
						t.Errorf("%+v is to be described", found)
					}
					return texts, refused
				})
				w.must(err)
			}
		}
		found := func(text string, want int) {
			t.Helper()
			hits := w.searched(w.tenant, text, 10, meta.SearchLabel, meta.SearchPlatform)
			if len(hits) != want || want > 0 && hits[0].Digest != m.Digest {
				t.Errorf("%q finds %+v", text, hits)
			}
		}
		indexed()
		found("team=blue", 1)
		found("blue\x00%_", 1)
		found("blue", 1)
		found("arm64", 1)
		found("linux", 1)
		found("ÜÜÜÜ", 1)
		refused = errors.New("the blob store is out")
		w.must(w.Store.RebuildSearch(t.Context(), cause()))
		indexed()
		found("blue", 1)
		refused, texts = nil, texts[1:]
		for i := range 2 * meta.MostSearchText / meta.LongestSearchTerm {
			texts = append(texts, meta.SearchText{Kind: meta.SearchLabel, Text: fmt.Sprintf("many-%d=%s", i, strings.Repeat("y", meta.LongestSearchTerm))})
		}
		w.must(w.Store.RebuildSearch(t.Context(), cause()))
		indexed()
		found("blue", 0)
		found("many-9=", 1)
		found(fmt.Sprintf("many-%d=", meta.MostSearchText/meta.LongestSearchTerm), 0)
		w.must(w.tryDelete(r, m.Digest))
		found("arm64", 0)
		indexed()
	})
	t.Run("W216 finds what a model finds, and nothing of other tenants", func(t *testing.T) {
		w := newWorld(t, open)
		other, main := w.addTenant("umbrella", 0)
		places := []meta.Repo{}
		for _, name := range []string{"ab", "ab/abc", "b.a-c", "cab_b"} {
			places = append(places, w.repo(name), meta.Repo{Tenant: other, Registry: main, Name: name})
		}
		put := w.image(nil, w.push(places[0], "config"))
		for _, r := range places {
			w.push(r, "config")
			w.put(r, put, "b")
		}
		text := rapid.StringOfN(rapid.SampledFrom([]rune("abcABC._-")), 1, 5, -1)
		tags := map[meta.Repo]map[string]bool{}
		for _, r := range places {
			tags[r] = map[string]bool{"b": true}
		}
		dice.Check(t, func(d *dice.T) {
			for range 6 {
				r := rapid.SampledFrom(places).Draw(d.T, "repository")
				tag := "b" + text.Draw(d.T, "tag")
				if tags[r][tag] {
					w.must(w.Store.DeleteTag(t.Context(), cause(), r, tag))
				} else {
					w.put(r, put, tag)
				}
				tags[r][tag] = !tags[r][tag]
			}
			w.indexed()
			for range 4 {
				q, size := text.Draw(d.T, "text"), rapid.IntRange(1, 9).Draw(d.T, "size")
				for _, id := range []tenant.ID{w.tenant, other} {
					hits := w.searched(id, q, size, meta.SearchRepository, meta.SearchTag)
					got, want := shown(hits), modelSearch(tags, id, q)
					if !slices.IsSortedFunc(hits, compareHits) {
						d.Errorf("%q finds %q, in another order", q, got)
					}
					slices.Sort(got)
					if !slices.Equal(got, want) {
						d.Errorf("%q finds %q, want %q", q, got, want)
					}
				}
			}
		})
	})
}

// lastRune is the greatest character.
const lastRune = "\U0010ffff"

func compareHits(x, y meta.SearchHit) int {
	return cmp.Or(cmp.Compare(x.At.Rank, y.At.Rank), cmp.Compare(x.At.Kind, y.At.Kind), cmp.Compare(x.At.Term, y.At.Term),
		cmp.Compare(x.At.Repo, y.At.Repo), cmp.Compare(x.At.Subject, y.At.Subject))
}

// modelSearch is what a text finds of a tenant, in order of names.
func modelSearch(tags map[meta.Repo]map[string]bool, id tenant.ID, text string) []string {
	text = strings.ToLower(text)
	matches := func(term string) bool {
		term = strings.ToLower(term)
		return strings.HasPrefix(term, text) || len(text) >= meta.SearchGram && strings.Contains(term, text)
	}
	found := []string{}
	for r, of := range tags {
		if r.Tenant != id {
			continue
		}
		if matches(r.Name) {
			found = append(found, r.Name)
		}
		for tag, there := range of {
			if there && matches(tag) {
				found = append(found, fmt.Sprintf("%s:%s", r.Name, tag))
			}
		}
	}
	slices.Sort(found)
	return found
}

// isEmpty fails the test if a table has a row.
func (w world) isEmpty(table string) {
	w.t.Helper()
	if err := w.SQL.Exec(`INSERT INTO search_progress (one, phase, cursor_tenant, cursor_repo, cursor_tag, cursor_digest) SELECT 2, '', 0, 0, '', '' FROM ` + table); err != nil {
		w.t.Errorf("%s has rows", table)
	}
}
