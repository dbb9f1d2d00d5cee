package sqlitemeta

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/meta/metatest"
)

// statements are this package's and those of sqlmeta.
func statements(t *testing.T) map[string]string {
	all := metatest.Statements(t)
	maps.Copy(all, metatest.SharedStatements(t, "SQLite"))
	return all
}

func TestStatementsPrepare(t *testing.T) {
	s := open(t, Options{})
	for name, query := range statements(t) {
		st, err := s.reader.db.PrepareContext(t.Context(), query)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := st.Close(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// wholeTables are the statements that read whole tables on purpose: fsck and
// the weekly sweep.
func wholeTables(name string) bool {
	return strings.HasPrefix(name, "check") && name != "checkBlob" || strings.HasPrefix(name, "unmarked") || name == "sumUsage" || strings.HasPrefix(name, "recount") || name == "sumTotal" || name == "fullTenants" || name == "crowdedTenants" || name == "cacheSize" || name == "cachingTenants" || name == "fetchSessions" || name == "unfinishedPurge" || name == "endLostRecorders" || name == "trimUsageRecorders"
}

// step is one of a plan, within another one or the whole.
type step struct {
	parent int
	detail string
}

// plan is EXPLAIN QUERY PLAN, a line for each step.
func plan(t *testing.T, s *Store, query string) []step {
	t.Helper()
	var steps []step
	err := s.write(t.Context(), func(tx *tx) error {
		args := make([]any, strings.Count(query, "?")+strings.Count(query, "$"))
		for i := range args {
			args[i] = 1
		}
		return tx.list("EXPLAIN QUERY PLAN "+query, args, func(scan scan) error {
			var one step
			var id, unused int
			err := scan(&id, &one.parent, &unused, &one.detail)
			steps = append(steps, one)
			return err
		})
	})
	if err != nil {
		t.Errorf("EXPLAIN %s: %v", query, err)
	}
	return steps
}

// walks are the statements that go through the rows of one tenant or
// repository, and why they may.
var walks = map[string]string{
	"findRepository":    "counts",
	"registrySize":      "counts",
	"repositorySize":    "counts",
	"imageSize":         "counts",
	"stagedByTenant":    "counts sessions, which are bounded",
	"hideRepository":    "stops at the first row",
	"insertRepository":  "looks for children of a new row",
	"insertTenant":      "looks for children of a new row",
	"purgeRepository":   "looks for children, which are gone",
	"purgeDeletions":    "has a LIMIT",
	"purgeKept":         "has a LIMIT",
	"keepReferrers":     "reads the few deletions that are in flight",
	"purgeTags":         "has a LIMIT",
	"purgeTagHistory":   "has a LIMIT",
	"purgeCacheTags":    "has a LIMIT",
	"purgeReferences":   "has a LIMIT",
	"purgeChildren":     "has a LIMIT",
	"purgeManifests":    "has a LIMIT",
	"purgeTrashedBlobs": "has a LIMIT",
	"purgeTrash":        "has a LIMIT",
	"endDeletionsOf":    "reads the few deletions that are in flight",
	"purgeAccounts":     "has a LIMIT",

	"listContentManifests": "returns them all",
	"listContentChildren":  "returns them all",
	"listContentBlobs":     "returns them all",
	"listContentTags":      "returns them all",

	"listNaming":    "looks into each repository of a tenant, by index",
	"nextNaming":    "looks into each repository of a tenant, by index",
	"purgePlaces":   "looks into each repository of a tenant, and reads its trash",
	"trashNaming":   "looks into each repository of a tenant, and reads its trash",
	"trashLeft":     "reads the trash of a repository",
	"historyNaming": "looks into each repository of a tenant, by index",
	"sealedAs":      "goes through the sessions of a tenant, which are bounded",
	"rememberSome":  "reads the few purges that are running",

	"listSearchChanges":    "has a LIMIT",
	"linksOf":              "has a LIMIT",
	"openUploadsOf":        "changes them all",
	"DeleteRepository":     "stops at the first row",
	"restoreRepository":    "stops at the first row",
	"holdsContent":         "stops at the first row",
	"findUsage":            "stops at the first row",
	"deletedBytes":         "has a LIMIT",
	"oldestTrash":          "goes through the deleted repositories of a tenant above its quota",
	"uploadsOf":            "has a LIMIT",
	"markRegistries":       "has a LIMIT",
	"deleteTenantAccounts": "deletes them all",
	"deleteTenantDomains":  "deletes them all",
	"deleteTenantRules":    "deletes them all",
	"selectAccessPolicy":   "returns them all",
	"selectPullPolicy":     "returns them all",
	"activeWebhooks":       "returns them all",
	"hookedEvents":         "has a LIMIT",
	"countRefusal":         "reads the webhooks of a tenant up to one that is enabled, of which there are few",
	"insertEvent":          "reads the webhooks of a tenant up to one that is enabled, of which there are few",

	"ruleOfNameSQLite": "reads the rules of a tenant, when what they could name is deleted",

	"closeTenantDomains":      "changes them all",
	"deleteTenantSessions":    "deletes them all",
	"openTenantDomainsSQLite": "changes them all",
	"anyContentSQLite":        "stops at the first row",
	"countContent":            "has a LIMIT",

	"deleteTenantUpstreams":    "deletes them all",
	"deleteTenantGroups":       "deletes them all",
	"deleteTenantMirrorHosts":  "deletes them all",
	"mirrorHostOfRegistry":     "reads the few mirror hosts of a tenant",
	"mirrorHostOfUpstream":     "reads the few mirror hosts of a tenant",
	"mirrorHostOfGroup":        "reads the few mirror hosts of a tenant",
	"findTopology":             "returns them all",
	"groupOfMemberSQLite":      "reads the few groups of a tenant",
	"registryOfGroup":          "reads the few registries of a tenant",
	"registryOfMirroredSQLite": "reads the few registries of a tenant",

	"countRegistries":             "has a LIMIT",
	"countCaches":                 "has a LIMIT",
	"countAccounts":               "has a LIMIT",
	"countOperatorKeys":           "has a LIMIT",
	"countDomains":                "has a LIMIT",
	"countAccessRules":            "has a LIMIT",
	"countTagRules":               "has a LIMIT",
	"countPromotionGates":         "has a LIMIT",
	"countPullRules":              "has a LIMIT",
	"countWebhooks":               "has a LIMIT",
	"ActivePromotionGates":        "reads the few promotion gates of a tenant",
	"deleteTenantGates":           "deletes them all",
	"deleteTenantPullRules":       "deletes them all",
	"deleteTenantWebhooks":        "deletes them all",
	"countPrefetches":             "has a LIMIT",
	"deleteTenantPrefetchRuns":    "deletes them all",
	"deleteTenantPrefetches":      "deletes them all",
	"countRetentionPolicies":      "has a LIMIT",
	"deleteTenantRetention":       "deletes them all",
	"endRetentionClaims":          "changes the few runs of a tenant",
	"ActiveTagRules":              "reads the few tag rules of a tenant",
	"deleteTenantTagRules":        "deletes them all",
	"countUpstreams":              "has a LIMIT",
	"countPrincipalGroups":        "has a LIMIT",
	"countProviders":              "has a LIMIT",
	"deleteTenantProviders":       "deletes them all",
	"deleteTenantPrincipalGroups": "deletes them all",
	"countGroups":                 "has a LIMIT",
	"countMirrorHosts":            "has a LIMIT",
	"countRevocations":            "has a LIMIT",
	"dropRevocations":             "deletes the few of a tenant",

	"deleteSomeTags":     "has a LIMIT",
	"dropSomeCachedTags": "has a LIMIT",

	"eventBeyond":          "stops after as many as there may be",
	"olderBeyond":          "stops after as many as there are beside content",
	"refusalBeyond":        "reads the few events beside content",
	"administrationBeyond": "reads the few events beside content",
	"countBesideContent":   "reads the few events beside content",
	"oldEvents":            "has a LIMIT",

	"FindRoom": "reads the last entry of a tenant in an index",

	"unnamedLinks":        "goes through the caches of a tenant above its share",
	"findTenant":          "adds up the registries of a tenant, which are few",
	"findTenantByID":      "adds up the registries of a tenant, which are few",
	"findHolder":          "adds up the registries of a tenant, which are few",
	"listTenants":         "adds up the registries of each tenant, which are few",
	"listHolders":         "adds up the registries of each tenant, which are few",
	"zeroCounts":          "goes through the registries of a tenant, which are few",
	"dropCounts":          "drops a batch, up to a LIMIT",
	"stayingBytes":        "goes through the caches of a tenant whose quota is used up",
	"leastPulledOfTenant": "goes through the caches of a tenant whose quota is used up",
}

// sorting are the statements that sort, and why they may.
var sorting = map[string]string{
	"findSlugOwner": "sorts the few tenants that had one slug",
	"leastPulled":   "goes through a whole cache, and keeps the first",

	"leastPulledOfTenant": "goes through the caches of a tenant, and keeps the first",
	"oldestTrash":         "goes through the trash of a tenant above its quota",
	"deletedBytes":        "tells digests apart, up to a LIMIT",
	"lastDeleted":         "sorts the few that had one name",

	"findRefreshTokenOfKey": "sorts the few refresh tokens of an account",
	"endOldRefreshes":       "sorts the few refresh tokens of an account",
	"endOldSessions":        "sorts the few sessions of an owner",

	"duePeople":            "sorts one page, which has a LIMIT",
	"selectGroupsOfSQLite": "sorts the groups of one principal",

	"companionsOf":  "sorts what the four companion tags of a subject point to",
	"listNaming":    "sorts what names one digest",
	"nextNaming":    "sorts what names one digest",
	"purgePlaces":   "sorts the repositories that have one digest",
	"trashNaming":   "sorts what names one digest",
	"historyNaming": "sorts what names one digest",
	"condemnedOf":   "sorts the few objects of one digest",

	"registrySize": "tells digests apart, which it counts",
	"imageSize":    "tells digests apart, which it counts",

	"keepReferrers": "reads the few deletions that are in flight",
	"trashManifest": "sorts the tags of one manifest, at most 500",
	"countContent":  "tells digests apart, up to a LIMIT",

	"usageByDay":         "groups the hours of a tenant, which are 9,600",
	"usageByMonthSQLite": "groups the hours of a tenant, which are 9,600",
}

// listed are the statements that read their list again for each row of a table, and why
// they may: for others it is the outermost loop.
var listed = map[string]string{
	"findHeld":      "one repository",
	"keepReferrers": "the few deletions that are in flight",
	"rememberSome":  "one purge",
}

// TestStatementsUseIndexes holds the cost of every statement, with the lookups
// that its foreign keys cause, to what it returns: none but those of fsck and
// the sweep scans a table that grows, none but walks goes through a tenant or
// repository, and no list sorts.
func TestStatementsUseIndexes(t *testing.T) {
	s := open(t, Options{})
	bounded := regexp.MustCompile(`^SCAN (j (EXISTS )?VIRTUAL TABLE|x VIRTUAL TABLE INDEX 0:M|search_trigrams VIRTUAL TABLE INDEX 0:=|[a-z_]+ USING (COVERING )?INDEX [a-z_]+_(deleting|limited|pending)|(up|above|doomed|held|links|d|counted|due|image)$|said LEFT-JOIN|signing_keys|token_keys|manifest_deletions|CONSTANT ROW|\(subquery)`)
	walk := regexp.MustCompile(`^SEARCH .*\((tenant_id=\?|tenant_id=\? AND repo_id=\?)\)`)
	for name, query := range statements(t) {
		if wholeTables(name) {
			continue
		}
		searched := map[int]bool{} // a table, by the parent of the step
		for _, step := range plan(t, s, query) {
			sorts := strings.Contains(step.detail, "TEMP B-TREE") && sorting[name] == ""
			scans := strings.HasPrefix(step.detail, "SCAN") && !bounded.MatchString(step.detail)
			lists := strings.HasPrefix(step.detail, "SCAN j VIRTUAL") && searched[step.parent] && listed[name] == ""
			if sorts || scans || lists || walk.MatchString(step.detail) && walks[name] == "" {
				t.Errorf("%s: %s", name, step.detail)
			}
			searched[step.parent] = searched[step.parent] || strings.HasPrefix(step.detail, "SEARCH")
		}
	}
}

// TestListsUseTheirIndexes names the index of each list whose order or filter
// has one of its own.
func TestListsUseTheirIndexes(t *testing.T) {
	s := open(t, Options{})
	shared := metatest.SharedStatements(t, "SQLite")
	for query, want := range map[string]string{
		shared["oldestEvents"]: "INDEX sqlite_autoindex_events_2 (tenant_id=? AND id>? AND id<?)",
		shared["newestEvents"]: "INDEX sqlite_autoindex_events_2 (tenant_id=? AND id>? AND id<?)",
		listRepositories:       "INDEX repositories_listed (tenant_id=? AND registry_id=? AND name>?)",
		repositoriesBetween:    "INDEX repositories_listed (tenant_id=? AND registry_id=? AND name>? AND name<?)",
		repositoriesDescending: "INDEX repositories_listed (tenant_id=? AND registry_id=? AND name>? AND name<?)",
		tagsBetween:            "INDEX tags_listed (tenant_id=? AND repo_id=? AND name>? AND name<?)",
		tagsDescending:         "INDEX tags_listed (tenant_id=? AND repo_id=? AND name>? AND name<?)",
		listTags:               "INDEX tags_listed (tenant_id=? AND repo_id=? AND name>?)",
		listReferrers:          "INDEX manifests_referrers (tenant_id=? AND repo_id=? AND subject=? AND digest>?)",
		listReferrersByType:    "INDEX manifests_referrers_by_type (tenant_id=? AND repo_id=? AND subject=? AND artifact_type=? AND digest>?)",
		listObjects:            "PRIMARY KEY ((tenant_id,incarnation)>(?,?))",
		claimCondemned:         "INDEX objects_due (<expr><?)",
		dueUploads:             "INDEX uploads_expiring (expires_at<?)",
		linkCandidates:         "INDEX repo_blobs_candidates (keep_until<?)",
		blobCandidates:         "INDEX blobs_candidates (keep_until<?)",
		condemnOrphans:         "INDEX objects_staged (created_at<?)",
		expiredManifests:       "INDEX manifests_expiring (expire_at<?)",
		leastPulled:            "INDEX manifests_cached (tenant_id=? AND repo_id=? AND expire_at>?)",
		endExpiry:              "(tenant_id=? AND repo_id=? AND digest=?)",
		recordPull:             "INDEX manifest_children_by_child (tenant_id=? AND repo_id=? AND child=?)",
	} {
		steps := plan(t, s, query)
		if !slices.ContainsFunc(steps, func(s step) bool { return strings.HasSuffix(s.detail, want) }) {
			t.Errorf("no step uses %s: %+v", want, steps)
		}
	}
}

// TestForeignKeysUseIndexes holds deletes of parents to an index on the
// children, which SQLite looks up by the columns of the key.
func TestForeignKeysUseIndexes(t *testing.T) {
	s := open(t, Options{})
	type key struct {
		child   string
		columns []string
	}
	keys := map[string]*key{}
	err := s.list(t.Context(), `SELECT t.name, f.id, f."from" FROM pragma_table_list t JOIN pragma_foreign_key_list(t.name) f
		WHERE t.schema = 'main' ORDER BY t.name, f.id, f.seq`, nil, func(scan scan) error {
		var child, id, column string
		err := scan(&child, &id, &column)
		if keys[child+id] == nil {
			keys[child+id] = &key{child: child}
		}
		keys[child+id].columns = append(keys[child+id].columns, column)
		return err
	})
	if err != nil || len(keys) < 10 {
		t.Fatalf("%d foreign keys, %v", len(keys), err)
	}
	for _, k := range keys {
		where := strings.Join(k.columns, " = ? AND ") + " = ?"
		steps := plan(t, s, "SELECT 1 FROM "+k.child+" WHERE "+where)
		last := k.columns[len(k.columns)-1]
		if !slices.ContainsFunc(steps, func(s step) bool {
			return strings.HasPrefix(s.detail, "SEARCH") && (strings.Contains(s.detail, last+"=?") || strings.Contains(s.detail, "PRIMARY KEY (rowid=?)"))
		}) {
			t.Errorf("%s (%s): %v", k.child, strings.Join(k.columns, ", "), steps)
		}
	}
}
