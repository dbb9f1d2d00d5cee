package metatest

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/meta"
)

// BenchmarkSearch measures pages of searches over repositories with ten tags each:
// BERTH_SEARCH_REPOSITORIES=100000 has a million tags. It reports the slowest kind of page
// by its 95th percentile, and logs all.
func BenchmarkSearch(b *testing.B, open Open) {
	repositories := 10
	if text := os.Getenv("BERTH_SEARCH_REPOSITORIES"); text != "" {
		var err error
		if repositories, err = strconv.Atoi(text); err != nil {
			b.Fatal(err)
		}
	}
	w := newWorld(b, open)
	w.fillSearch(repositories)
	began, steps := time.Now(), 0
	for n := 1; n > 0; steps++ {
		var err error
		n, err = w.Store.IndexSearch(b.Context(), 1000, nil)
		w.must(err)
	}
	b.Logf("%d repositories, indexed in %v and %d steps", repositories, time.Since(began), steps)
	last := repositories - 1
	pages := []struct {
		what string
		q    meta.SearchQuery
	}{
		{"one repository", meta.SearchQuery{Text: fmt.Sprintf("team-%d/service-%d", last%100, last)}},
		{"a part of one", meta.SearchQuery{Text: fmt.Sprintf("ice-%d", last)}},
		{"a part of all repositories", meta.SearchQuery{Text: "service"}},
		{"a prefix of all tags", meta.SearchQuery{Text: "v1"}},
		{"a part of many tags", meta.SearchQuery{Text: ".7.t"}},
		{"a tag of all repositories", meta.SearchQuery{Text: "latest"}},
		{"a part of a tag of all", meta.SearchQuery{Text: "ates"}},
		{"a part of one tag", meta.SearchQuery{Text: fmt.Sprintf("-%d-b9", last)}},
		{"nothing", meta.SearchQuery{Text: "nowhere-to-be-found"}},
		{"one character", meta.SearchQuery{Text: "v"}},
		{"the last page of a prefix", meta.SearchQuery{Text: "v1", After: meta.SearchPosition{Rank: meta.SearchPrefix, Kind: meta.SearchTag, Term: "v1.9.team-99-99999-b9"}}},
		{"the last page of a part", meta.SearchQuery{Text: "service", After: meta.SearchPosition{Rank: meta.SearchPart, Kind: meta.SearchRepository, Term: fmt.Sprintf("team-99/service-%d", last-last%100+98)}}},
	}
	took := make([][]time.Duration, len(pages))
	for b.Loop() {
		for i, page := range pages {
			page.q.Kinds, page.q.Size = meta.SearchKinds, 101
			began := time.Now()
			_, err := w.Store.Search(b.Context(), w.tenant, page.q)
			took[i] = append(took[i], time.Since(began))
			w.must(err)
		}
	}
	slowest, report := time.Duration(0), ""
	for i, page := range pages {
		slices.Sort(took[i])
		p95 := took[i][len(took[i])*95/100]
		slowest = max(slowest, p95)
		report += fmt.Sprintf("; %s: p50 %v, p95 %v", page.what, took[i][len(took[i])/2], p95)
	}
	b.Log(report)
	b.ReportMetric(float64(slowest.Microseconds())/1000, "ms-p95")
}

// fillSearch makes repositories with ten tags each, by statements of no store.
func (w world) fillSearch(repositories int) {
	w.t.Helper()
	r := w.repo("seed")
	w.put(r, w.image(nil, w.push(r, "config")), "seed")
	count := func(n int) string {
		return fmt.Sprintf("WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < %d) ", n-1)
	}
	w.must(w.SQL.Break(count(repositories) + `INSERT INTO repositories (tenant_id, registry_id, name, state, listed, created_at)
		SELECT r.tenant_id, r.registry_id, 'team-' || (n.i % 100) || '/service-' || n.i, r.state, r.listed, r.created_at FROM repositories r CROSS JOIN n WHERE r.name = 'seed'`))
	w.must(w.SQL.Break(`INSERT INTO manifests (tenant_id, repo_id, digest, media_type, size, artifact_type, annotations, created_at, payload, refs)
		SELECT m.tenant_id, r.id, m.digest, m.media_type, m.size, m.artifact_type, m.annotations, m.created_at, m.payload, m.refs
		  FROM manifests m CROSS JOIN repositories r WHERE r.name LIKE 'team-%'`))
	// One tag that all repositories have, and nine that no other one has.
	w.must(w.SQL.Break(count(10) + `INSERT INTO tags (tenant_id, repo_id, name, manifest, version)
		SELECT m.tenant_id, m.repo_id, CASE WHEN n.i = 0 THEN 'latest' ELSE 'v1.' || n.i || '.' || replace(r.name, '/service', '') || '-b' || n.i END, m.digest, 1
		  FROM repositories r JOIN manifests m ON m.tenant_id = r.tenant_id AND m.repo_id = r.id CROSS JOIN n WHERE r.name LIKE 'team-%'`))
}
