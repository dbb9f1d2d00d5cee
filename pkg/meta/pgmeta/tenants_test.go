package pgmeta

import (
	"regexp"
	"strings"
	"testing"
)

// begins are the statements that are of no single tenant, and the alias, as plans call it, of
// the table that they begin at: what else they read is of its rows' tenants.
var begins = map[string]string{
	// The deletion of tenants, registries and repositories, bit by bit.
	"giveUpRegistries":   "g_1",
	"giveUpRepositories": "r_1",
	"lockBlobsToPurge":   "repositories",
	"markRegistries":     "t",
	"markRepositories":   "g",
	"markTenantsDeleted": "t_1",
	"purgeAccounts":      "t",
	"purgeCachedTags":    "repositories",
	"purgeChildren":      "repositories",
	"purgeClaims":        "g",
	"purgeDeletions":     "repositories",
	"purgeGroups":        "t",
	"purgeKept":          "repositories",
	"purgeManifests":     "repositories",
	"purgeReferences":    "repositories",
	"purgeRegistries":    "g_1",
	"purgeRepositories":  "r_1",
	"purgeTagHistory":    "repositories",
	"purgeTags":          "repositories",
	"purgeTrash":         "repositories",
	"purgeTrashedBlobs":  "repositories",
	"uploadsToPurge":     "repositories",

	// The janitor's other work, and what fsck reads.
	"blobCandidates":       "blobs",
	"claimCondemned":       "o_1",
	"condemnOrphans":       "o_1",
	"nextToCount":          "c",
	"dueTrash":             "trashed_manifests",
	"dueRetentionPostgres": "d",
	"duePrefetchPostgres":  "d",
	"dueUploads":           "uploads",
	"expiredManifests":     "m",
	"keepListed":           "m_1",
	"limitedCaches":        "upstreams",
	"countDamaged":         "d",
	"listDamaged":          "d",
	"listSuspects":         "b",
	"linkCandidates":       "repo_blobs",
	"listObjects":          "o",
	"manifestsFrom":        "manifests",
	"tagsFrom":             "tags",
	"trimRefreshes":        "refresh_tokens",
	"trimRevocations":      "revocations",
	"trimLogins":           "finished_logins",
	"trimSessions":         "sessions",
	"trimTagHistory":       "h_1",
	"oldUsagePostgres":     "h",
	"sampleUsage":          "u",
	"nextMeasuredTenant":   "t",
	"nextSearchTenant":     "c",
	"searchEntriesFrom":    "e",
	"searchManifestsFrom":  "m",
	"searchTagsFrom":       "t",

	// Whose a session is.
	"findAccountSession":  "s",
	"findOperatorSession": "s",

	// Of identity providers, which people of several tenants may have.
	"duePeople":                "i",
	"endGroupsPostgres":        "i",
	"findIdentityProviderByID": "p",
	"accountsOfPerson":         "i",
	"findProviderOffer":        "identity_providers",
	"forgetProvider":           "account_identities",
	"groupOfProvider":          "g",
	"lockProviderOffer":        "identity_providers",
	"postponePeople":           "account_identities",
	"raiseEpochsOfPerson":      "i",
	"raiseVersionsOfProvider":  "g",
	"revokePerson":             "i",
	"wakeAccountsOfPerson":     "account_identities",
	"wakePeople":               "account_identities",

	// Of operators, and of every process.
	"findHolder":      "t",
	"findTenant":      "t",
	"listHolders":     "t",
	"listRevocations": "r",
	"listTenants":     "t",
	"pendingEvents":   "e",

	// Whose events have yet to be made deliveries of, whose deliveries wait, and what is old.
	"nextHookedTenant":      "events",
	"nextWaiting":           "d",
	"nextDeliveryWebhook":   "d",
	"oldDeliveriesPostgres": "d",

	// A host's tenant; and whose a domain is.
	"domainIsTakenPostgres":       "domains",
	"findSiteByDomainPostgres":    "d",
	"findSiteByMirror":            "n",
	"findSiteBySlugs":             "t",
	"openRegistryDomainsPostgres": "other",
	"openTenantDomainsPostgres":   "other",
}

// bindings are the parts of a plan that are of one tenant: each comparison of a tenant_id
// joins two of them, and anchor is what a parameter or a given list says.
type bindings struct {
	owned  map[string]bool // the tables with a column tenant_id
	begin  string
	parent map[string]string
	reads  []string // aliases of owned tables
}

const anchor = "$"

func (b *bindings) root(part string) string {
	for b.parent[part] != "" {
		part = b.parent[part]
	}
	return part
}

func (b *bindings) join(x, y string) {
	if x, y = b.root(x), b.root(y); x != y {
		b.parent[x] = y
	}
}

var (
	ownTenant   = regexp.MustCompile(`(?:^|[( ])tenant_id = (?:ANY \()?(\$|\w+\.)`)
	joinsTenant = regexp.MustCompile(`(\w+)\.\w+ = (\w+)\.\w+`)
)

// read takes a step of a plan, and those below it.
func (b *bindings) read(n node) {
	switch {
	case n.Alias != "" && n.Alias == b.begin:
		b.join(n.Alias, anchor)
	case b.owned[n.Relation] && strings.Contains(n.Type, "Scan"):
		b.reads = append(b.reads, n.Alias)
	case n.Relation == "" && n.Alias != "":
		b.join(n.Alias, anchor) // a list that is given, or a subquery, whose own reads are bound
	}
	for _, found := range ownTenant.FindAllStringSubmatch(n.Condition+" "+n.Recheck+" "+n.Filter, -1) {
		b.join(n.Alias, strings.TrimSuffix(found[1], "."))
	}
	for _, found := range joinsTenant.FindAllStringSubmatch(n.Hash+" "+n.Merge+" "+n.Join, -1) {
		if strings.Contains(found[0], "tenant") {
			b.join(found[1], found[2])
		}
	}
	for _, below := range n.Plans {
		b.read(below)
	}
}

// unbound are the reads of tenants' tables that nothing binds to a tenant.
func (p planner) unbound(t *testing.T, owned map[string]bool, name, query string) []string {
	t.Helper()
	b := bindings{owned: owned, begin: begins[name], parent: map[string]string{}}
	b.read(p.plan(t, query))
	var found []string
	for _, alias := range b.reads {
		if b.root(alias) != b.root(anchor) {
			found = append(found, alias)
		}
	}
	return found
}

// compares are the comparisons of two given lists, which bind nothing, and of what a function
// found by hashes of the tenant.
var compares = map[string]string{"lockExpiring": "wanted.tenant_id = mine.tenant_id", "findSearchTermsPostgres": "f.tenant_id = $1"}

// TestC8_StatementsAreBoundToATenant: all that a statement reads is bound to a tenant, and
// a statement without one of its comparisons is found.
func TestC8_StatementsAreBoundToATenant(t *testing.T) {
	p := newPlanner(t)
	owned := map[string]bool{}
	rows, err := p.c.Query(t.Context(), `SELECT table_name FROM information_schema.columns WHERE column_name = 'tenant_id' AND table_schema = 'public'`)
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		var table string
		if err := rows.Scan(&table); err != nil {
			t.Fatal(err)
		}
		owned[table] = true
	}
	if rows.Err() != nil || len(owned) < 20 {
		t.Fatalf("%d tables, %v", len(owned), rows.Err())
	}
	comparison := regexp.MustCompile(`(\b\w+\.)?\btenant_id = (\$[0-9]+|\w+\.\w+)`)
	stripped := 0
	for name, query := range statements(t) {
		if walker(name) {
			continue
		}
		if found := p.unbound(t, owned, name, query); len(found) > 0 {
			t.Errorf("%s: %q", name, found)
			continue
		}
		for _, at := range comparison.FindAllStringIndex(query, -1) {
			from, to := at[0], at[1]
			if compares[name] == query[from:to] {
				continue
			}
			with := "true"
			if n := parameter.FindString(query[from:to]); n != "" {
				with = "(" + n + "::bigint IS NULL OR true)" // the parameter keeps its type
			}
			stripped++
			if found := p.unbound(t, owned, name, query[:from]+with+query[to:]); len(found) == 0 {
				t.Errorf("%s passes without %q", name, query[from:to])
			}
		}
	}
	if stripped < 500 {
		t.Errorf("only %d comparisons found", stripped)
	}
}
