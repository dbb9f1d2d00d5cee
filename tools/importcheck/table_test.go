package importcheck

import "strings"

// A row says what the packages that match its pattern may import of Berth,
// beside their own subpackages, and what of the world outside they may not.
// The first row that matches a package holds. "x/*" matches every package
// below x, but not x.
type row struct {
	pattern string
	may     []string // Berth packages, as patterns
	never   []string // packages of other modules, as patterns
	tests   []string // what its tests may import besides
}

// The groups that rows name.
var (
	nouns     = []string{"pkg/fault", "pkg/oci", "pkg/tenant", "pkg/access", "pkg/identity", "pkg/fairgate", "pkg/tagrule", "pkg/retention", "pkg/scan", "pkg/ttlcache", "pkg/pause"}
	contracts = []string{"pkg/blob", "pkg/meta", "pkg/lease", "pkg/limit"}
	faces     = []string{"pkg/ocihttp", "pkg/boot/logs", "pkg/boot/web", "pkg/boot/conns"}
	adapters  = []string{"pkg/blob/*", "pkg/meta/*", "pkg/lease/*", "pkg/limit/*", "pkg/tenant/*", "pkg/upstream", "pkg/credential"}
	anything  = []string{"pkg/*", "api/*", "migrations", "services/*"}
	forTests  = []string{"pkg/dice", "pkg/await", "pkg/faketime", "pkg/oci/ocitest", "pkg/cosign/cosigntest", "pkg/cosign/keyless/keylesstest", "pkg/retention/retentiontest"}
	outside   = join(forTests, "pkg/oci", "pkg/pause", "tools/internal/*")
)

// What whole groups never import. Services are made by go-kit and configured
// by the command; packages under pkg know neither.
var (
	// A noun is a value: it does no input or output.
	noIO = []string{"net/http", "database/sql", "os", "log/slog", "github.com/go-kit/*", "flag", "github.com/alecthomas/kong"}
	// A package under pkg is used by any program.
	noKit = join(noSigstore, "github.com/go-kit/*", "flag", "github.com/alecthomas/kong", "github.com/spf13/*")
	// A service asks its contracts, never a database or a file.
	noStore = join(noSigstore,
		"database/sql", "modernc.org/sqlite", "github.com/jackc/*", "github.com/aws/*", "github.com/redis/*",
		"flag", "github.com/alecthomas/kong", "github.com/spf13/*",
	)
	// Only pkg/cosign/keyless is made by Sigstore's libraries, whose packages that ask servers
	// it does not import either.
	noSigstore = []string{"github.com/sigstore/*"}
)

// Arrows point down this list: nouns, contracts, adapters, services, the
// composition root, the command.
var table = []row{
	{pattern: "pkg/fault", never: noIO},
	{pattern: "pkg/oci", may: []string{"pkg/fault"}, never: noIO},
	{pattern: "pkg/ttlcache", may: []string{"pkg/fault"}, never: noIO},
	{pattern: "pkg/tenant", may: []string{"pkg/fault", "pkg/oci", "pkg/ttlcache"}, never: noIO},
	{pattern: "pkg/access", may: []string{"pkg/fault", "pkg/oci", "pkg/tenant", "pkg/ttlcache", "pkg/pause"}, never: noIO, tests: []string{"pkg/seal"}},

	{pattern: "pkg/identity", never: noIO},
	{pattern: "pkg/tagrule", may: []string{"pkg/oci"}, never: noIO},
	{pattern: "pkg/retention", may: []string{"pkg/fault", "pkg/oci", "pkg/tagrule"}, never: noIO, tests: []string{"pkg/dice", "pkg/retention/retentiontest"}},
	{pattern: "pkg/retention/retentiontest", may: []string{"pkg/retention", "pkg/tagrule"}, never: noIO},
	{pattern: "pkg/scan", never: noIO},
	{pattern: "pkg/fairgate", never: noIO},
	{pattern: "pkg/pause", never: noIO},

	{pattern: "pkg/blob", may: nouns, never: noKit, tests: []string{"pkg/blob/*"}},
	{pattern: "pkg/lease", may: nouns, never: noKit, tests: []string{"pkg/lease/*"}},
	{pattern: "pkg/limit", may: nouns, never: noKit, tests: []string{"pkg/limit/*"}},
	{pattern: "pkg/meta", may: join(nouns, "pkg/blob"), never: noKit, tests: []string{"pkg/meta/*"}},

	{pattern: "pkg/blob/blobtest", may: join(nouns, "pkg/blob", "pkg/dice", "pkg/oci/ocitest"), never: noKit},
	{
		pattern: "pkg/blob/*", may: join(nouns, "pkg/blob", "pkg/blob/internal/*", "pkg/internal/tempfile"), never: noKit,
		tests: []string{"pkg/blob/blobtest", "tools/testserver"},
	},
	{pattern: "pkg/lease/leasetest", may: join(nouns, "pkg/lease"), never: noKit},
	{
		pattern: "pkg/lease/*", may: join(nouns, "pkg/lease", "pkg/boot/redisconn"), never: noKit,
		tests: []string{"pkg/lease/leasetest", "tools/testserver"},
	},
	{pattern: "pkg/limit/*", may: join(nouns, "pkg/limit", "pkg/boot/redisconn"), never: noKit, tests: []string{"tools/testserver"}},
	{pattern: "pkg/tenant/*", may: nouns, never: noKit, tests: []string{"pkg/boot/redisconn", "tools/testserver"}},
	{pattern: "pkg/meta/metatest", may: join(nouns, "pkg/blob", "pkg/meta", "pkg/await", "pkg/dice", "pkg/oci/ocitest", "pkg/retention/retentiontest"), never: noKit},
	{
		pattern: "pkg/meta/sqlmeta", may: join(nouns, "pkg/meta"), never: join(noKit, "github.com/jackc/*", "modernc.org/*"),
	},
	{
		pattern: "pkg/meta/*", may: join(nouns, "pkg/blob", "pkg/meta", "pkg/meta/sqlmeta", "migrations"), never: noKit,
		tests: []string{"pkg/meta/metatest", "pkg/blob/fsblob", "tools/testserver"},
	},
	{pattern: "pkg/dice"},
	{pattern: "pkg/faketime"},
	{pattern: "pkg/await", may: []string{"pkg/pause"}},
	{pattern: "pkg/oci/ocitest", may: []string{"pkg/oci"}},
	{pattern: "pkg/internal/tempfile", never: noKit},
	{
		pattern: "pkg/inflight", may: join(nouns, "pkg/blob", "pkg/internal/tempfile"), never: noKit,
		tests: []string{"tools/testserver"},
	},
	{pattern: "pkg/seal", never: noKit},
	{pattern: "pkg/password", may: nouns, never: noKit},
	{pattern: "pkg/login/logintest", may: join(nouns, "pkg/login", "pkg/meta", "pkg/password"), never: noKit},
	{
		pattern: "pkg/login/oidclogin", may: join(nouns, "pkg/login", "pkg/workload"), never: noKit,
		tests: []string{"pkg/upstream", "tools/testserver"},
	},
	{
		pattern: "pkg/login/*", may: join(nouns, "pkg/login"), never: noKit,
		tests: []string{"tools/testserver"},
	},
	{
		pattern: "pkg/login", may: join(nouns, "pkg/meta", "pkg/password"), never: noKit,
		tests: []string{"pkg/login/logintest", "pkg/meta/*", "tools/testserver"},
	},
	{
		pattern: "pkg/workload", may: join(nouns, "pkg/meta", "pkg/login"), never: noKit,
		tests: []string{"pkg/login/logintest", "pkg/meta/*", "pkg/password", "pkg/upstream", "tools/testserver"},
	},
	{
		pattern: "pkg/cosign/keyless", may: join(nouns, "pkg/cosign"),
		never: []string{"net", "net/http", "os", "time", "github.com/sigstore/sigstore-go/pkg/tuf", "github.com/sigstore/sigstore-go/pkg/sign", "github.com/go-kit/*", "flag"},
	},
	{pattern: "pkg/cosign/keyless/keylesstest", may: []string{"pkg/oci", "pkg/oci/ocitest", "pkg/cosign", "pkg/cosign/keyless"}, never: noKit},
	{pattern: "pkg/cosign/cosigntest", may: []string{"pkg/oci", "pkg/oci/ocitest", "pkg/cosign"}},
	{pattern: "pkg/cosign", may: nouns, never: noKit},
	{pattern: "pkg/chain", may: join(nouns, "pkg/meta"), never: noKit},
	{pattern: "pkg/ocihttp", may: join(nouns, "pkg/boot/web"), never: noKit},
	{pattern: "pkg/credential", may: nouns, never: noKit, tests: []string{"tools/testserver"}},
	{pattern: "pkg/upstream", may: join(nouns, "pkg/ocihttp", "pkg/credential"), never: noKit, tests: []string{"tools/testserver"}},
	{pattern: "pkg/boot/logs", may: []string{"pkg/fault", "pkg/tenant"}, never: noKit},
	{pattern: "pkg/boot/redisconn", never: noKit, tests: []string{"tools/testserver"}},
	{pattern: "pkg/boot/conns", never: noKit, tests: []string{"pkg/boot/web"}},
	{pattern: "pkg/boot/web", may: join(nouns, "pkg/boot/logs", "pkg/boot/conns"), never: noKit},
	{pattern: "pkg/boot", may: nouns, never: noKit, tests: []string{"tools/testserver"}},
	{pattern: "migrations"},
	{pattern: "api/*"},

	{pattern: "services/internal/kit", may: join(nouns, faces...), never: noStore},
	// It runs the data port for tests, so it may do what the composition root may.
	{pattern: "services/internal/fronttest", may: join(nouns, join(contracts, join(faces, join(adapters, "pkg/seal", "services/internal/*")...)...)...), never: noStore},
	{pattern: "services/internal/respond", may: join(nouns, join(contracts, join(faces, "services/internal/kit", "services/internal/front")...)...), never: noStore},
	{pattern: "services/internal/policy", may: join(nouns, join(contracts, "pkg/chain", "pkg/cosign", "pkg/cosign/keyless", "services/internal/respond")...), never: noStore},
	{pattern: "services/internal/pullrules", may: join(nouns, join(contracts, "pkg/chain", "services/internal/policy", "services/internal/respond")...), never: noStore},
	{
		pattern: "services/internal/webhooks", may: join(nouns, join(contracts, join(faces, "pkg/seal")...)...), never: noStore,
		tests: []string{"pkg/meta/sqlitemeta", "services/internal/fronttest"},
	},
	{pattern: "services/internal/source", may: join(nouns, join(contracts, "pkg/chain", "services/internal/policy")...), never: noStore},
	{
		pattern: "services/internal/promotion", may: join(nouns, join(contracts, "pkg/chain", "services/internal/policy", "services/internal/respond", "services/internal/source")...), never: noStore,
		tests: []string{"pkg/meta/*", "tools/testserver"},
	},
	{
		pattern: "services/internal/chains", may: join(nouns, join(contracts, join(faces, "pkg/chain", "services/internal/kit", "services/internal/front")...)...), never: noStore,
		tests: []string{"services/internal/fronttest"},
	},
	{
		pattern: "services/internal/audit", may: join(nouns, join(contracts, faces...)...), never: noStore,
		tests: []string{"pkg/meta/sqlitemeta"},
	},
	{
		pattern: "services/internal/people", may: join(nouns, join(contracts, "pkg/login", "pkg/login/ldaplogin", "pkg/login/oidclogin", "pkg/password", "pkg/seal", "pkg/boot/web")...), never: noStore,
		tests: []string{"pkg/login/logintest", "pkg/meta/sqlitemeta", "pkg/await", "tools/testserver"},
	},
	{
		pattern: "services/internal/*", may: join(nouns, join(contracts, join(faces, "services/internal/kit", "services/internal/audit", "services/internal/signedcall", "services/internal/usage")...)...), never: noStore,
		tests: []string{"services/internal/fronttest"},
	},
	{
		pattern: "services/admin", may: join(nouns, join(contracts, join(faces, "pkg/chain", "pkg/cosign", "pkg/login/ldaplogin", "pkg/login/oidclogin", "pkg/password", "pkg/seal", "pkg/upstream", "pkg/workload", "services/internal/*", "api/*")...)...), never: noStore,
		tests: join(adapters, "pkg/cosign/keyless", "pkg/login", "tools/testserver", "services/token"), // which checks passwords
	},
	{
		pattern: "services/proxy", may: join(nouns, join(contracts, join(faces, "pkg/chain", "pkg/seal", "pkg/upstream", "services/internal/*")...)...), never: noStore,
		tests: join(adapters, "pkg/cosign", "pkg/cosign/keyless", "tools/testserver"),
	},
	{pattern: "services/proxy/cache", may: join(nouns, join(contracts, "pkg/chain", "pkg/upstream", "services/proxy/fetch", "services/internal/respond", "services/internal/policy", "services/internal/pulls")...), never: noStore},
	{
		pattern: "services/proxy/fetch", may: join(nouns, join(contracts, "pkg/inflight", "services/internal/*")...), never: noStore,
		tests: join(adapters, "tools/testserver"),
	},
	{
		pattern: "services/assemble", may: join(anything), never: []string{"flag", "github.com/alecthomas/kong"},
		tests: []string{"tools/testserver"},
	},
	{pattern: "services/berth", may: join(anything), tests: []string{"tools/testserver"}},
	{
		pattern: "services/registry", may: join(nouns, join(contracts, join(faces, "pkg/chain", "services/internal/*")...)...), never: noStore,
		tests: join(adapters, "pkg/cosign", "tools/testserver"),
	},
	// A backup is a data directory of the embedded shape, whatever the server's is.
	{pattern: "services/backup", may: join(nouns, join(contracts, "pkg/blob/fsblob", "pkg/meta/sqlitemeta", "services/internal/adminclient")...), never: noStore},
	{
		pattern: "services/token", may: join(nouns, join(contracts, join(faces, "pkg/login", "pkg/password", "pkg/workload", "services/internal/*")...)...), never: noStore,
		tests: join(adapters, "tools/testserver"),
	},
	// No service imports another: one that did would know where it runs.
	{
		pattern: "services/*", may: join(nouns, join(contracts, join(faces, "services/internal/*")...)...), never: noStore,
		tests: join(adapters, "tools/testserver"),
	},

	// Its tests give what the chart renders to Berth's own configuration.
	{pattern: "tools/charts", tests: []string{"pkg/boot"}},
	// Tools watch Berth from outside; the operator's words they may share.
	{pattern: "tools/clusterrun", tests: join(outside, "tools/testserver")},
	// It runs the janitor alone, since a server's waits for days.
	{pattern: "tools/crashrun", may: join(outside, "pkg/meta", "pkg/meta/*", "pkg/blob/*", "services/janitor", "tools/testserver")},
	{pattern: "tools/crowdrun", may: join(outside, "tools/testserver")},
	{pattern: "tools/cutrun", may: join(outside, "tools/testserver")},
	{pattern: "tools/memrun", may: join(outside, "tools/testserver")},
	{pattern: "tools/reference", may: []string{"pkg/boot"}},
	{pattern: "tools/sigstore", may: join(outside, "pkg/cosign/keyless")},
	{pattern: "tools/*", may: outside},
}

func join(a []string, b ...string) []string { return append(append([]string(nil), a...), b...) }

// matches says whether pkg is named by one of the patterns.
func matches(patterns []string, pkg string) bool {
	for _, p := range patterns {
		if dir, below := strings.CutSuffix(p, "/*"); below {
			if strings.HasPrefix(pkg, dir+"/") {
				return true
			}
		} else if p == pkg {
			return true
		}
	}
	return false
}

// rowOf finds the row of a package; ok is false when the table has none.
func rowOf(pkg string) (row, bool) {
	for _, r := range table {
		if matches([]string{r.pattern}, pkg) {
			return r, true
		}
	}
	return row{}, false
}
