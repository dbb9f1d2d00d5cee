// Package metatest is the conformance suite of package meta: what every
// metadata store must do, from single answers to the races of the storage
// protocol.
package metatest

import (
	"io/fs"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/meta"
)

// Harness is a fresh, empty store with meta.DefaultLifetimes, and the clock it
// goes by. Open arranges that it is closed.
type Harness struct {
	Store   meta.Store
	Advance func(time.Duration) // moves the store's clock forward
	Now     func() time.Time    // the store's clock
	SQL     SQL
}

// SQL reaches the tables under a store, for statements that no store runs.
type SQL struct {
	Exec  func(statements string) error // with the schema's constraints
	Break func(statements string) error // without them
	Steps fs.FS                         // the migrations of the schema

	// Cases whose SQL or findings are this database's own.
	Broken  []Broken
	Refused map[string]string // statements, by what they would do
}

// Broken is a way to break an invariant, and what CheckRows then finds.
type Broken struct {
	SQL, Invariant string
	Detail         string        // or a part of it
	Where          *meta.Finding // the place, the digest and how the object begins; nil for any
}

// Options are the bounds of a store; the zero value has none but the defaults.
type Options struct {
	Limits      meta.Limits
	MaxStaged   int64
	MaxSessions int64
}

// Open makes a Harness for one test.
type Open func(t testing.TB, o Options) Harness

// Run runs the whole suite.
func Run(t *testing.T, open Open) {
	for _, noun := range []struct {
		name string
		test func(t *testing.T, open Open)
	}{
		{"Store", testStore},
		{"Tenants", testTenants},
		{"Registries", testRegistries},
		{"Domains", testDomains},
		{"Sites", testSites},
		{"Accounts", testAccounts},
		{"Users", testUsers},
		{"Trusts", testTrusts},
		{"Operators", testOperators},
		{"Sessions", testSessions},
		{"AccessRules", testAccessRules},
		{"TagRules", testTagRules},
		{"ProtectedTags", testProtectedTags},
		{"TagRuleRaces", testTagRuleRaces},
		{"PrincipalGroups", testPrincipalGroups},
		{"IdentityProviders", testIdentityProviders},
		{"People", testPeople},
		{"PersonTokens", testPersonTokens},
		{"Mappings", testMappings},
		{"MadeAgain", testMadeAgain},
		{"MirrorHosts", testMirrorHosts},
		{"SigningKeys", testSigningKeys},
		{"Identities", testIdentities},
		{"Events", testEvents},
		{"Audit", testAudit},
		{"Repositories", testRepositories},
		{"NameClaims", testNameClaims},
		{"Uploads", testUploads},
		{"Commits", testCommits},
		{"Charges", testCharges},
		{"HostedQuotas", testHostedQuotas},
		{"Staging", testStaging},
		{"Bounds", testBounds},
		{"Limits", testLimits},
		{"PushesWin", testPushesWin},
		{"Blobs", testBlobs},
		{"Manifests", testManifests},
		{"Children", testChildren},
		{"Referrers", testReferrers},
		{"ReferrerDeletion", testReferrerDeletion},
		{"Companions", testCompanions},
		{"Trash", testTrash},
		{"TrashQuota", testTrashQuota},
		{"DeletedRepositories", testDeletedRepositories},
		{"DeletedRepositoryQuota", testDeletedRepositoryQuota},
		{"DeletedRepositoryRaces", testDeletedRepositoryRaces},
		{"DigestPurge", testDigestPurge},
		{"Tags", testTags},
		{"TagHistory", testTagHistory},
		{"TagUndelete", testTagUndelete},
		{"HostedPulls", testHostedPulls},
		{"UsageHours", testUsageHours},
		{"Search", testSearch},
		{"ContentSizes", testContentSizes},
		{"RetentionPolicies", testRetentionPolicies},
		{"Prefetches", testPrefetches},
		{"RetentionRuns", testRetentionRuns},
		{"RetentionSeed", testRetentionSeed},
		{"Collector", testCollector},
		{"LocateBlob", testLocateBlob},
		{"Scrubs", testScrubs},
		{"Damage", testDamage},
		{"Purge", testPurge},
		{"Findings", testFindings},
		{"Schema", testSchema},
		{"Deletion", testDeletion},
		{"DeletionRaces", testDeletionRaces},
		{"Races", testRaces},
		{"RepositoryRaces", testRepositoryRaces},
		{"Random", testRandom},
		{"Upstreams", testUpstreams},
		{"Groups", testGroups},
		{"Topology", testTopology},
		{"Cache", testCache},
		{"CachedTags", testCachedTags},
		{"CachedBlobs", testCachedBlobs},
		{"CacheProof", testCacheProof},
		{"CachePurge", testCachePurge},
		{"CacheCollector", testCacheCollector},
		{"CacheEviction", testCacheEviction},
		{"CacheTrim", testCacheTrim},
		{"CacheRaces", testCacheRaces},
		{"Adoption", testAdoption},
		{"Provisional", testProvisional},
		{"Promotion", testPromotion},
		{"PromotionGates", testPromotionGates},
		{"PullRules", testPullRules},
		{"Webhooks", testWebhooks},
		{"WebhookDeliveries", testWebhookDeliveries},
		{"AdoptionRaces", testAdoptionRaces},
	} {
		t.Run(noun.name, func(t *testing.T) {
			t.Parallel() // each test has a store of its own
			noun.test(t, open)
		})
	}
}
