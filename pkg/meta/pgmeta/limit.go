package pgmeta

import "github.com/berth-registry/berth/pkg/meta"

// How many there are of a noun, counted up to the last argument. What is deleted
// and not removed yet has its row and counts.
const (
	countRegistries  = `SELECT count(*) FROM (SELECT 1 FROM registries WHERE tenant_id = $1 AND upstream_id IS NULL LIMIT $2) AS counted`
	countCaches      = `SELECT count(*) FROM (SELECT 1 FROM registries WHERE tenant_id = $1 AND upstream_id IS NOT NULL LIMIT $2) AS counted`
	countAccounts    = `SELECT count(*) FROM (SELECT 1 FROM accounts WHERE tenant_id = $1 LIMIT $2) AS counted`
	countAccountKeys = `SELECT count(*) FROM (SELECT 1 FROM account_keys WHERE tenant_id = $1 AND account_id = $2 LIMIT $3) AS counted`
	countDomains     = `SELECT count(*) FROM (SELECT 1 FROM domains WHERE tenant_id = $1 LIMIT $2) AS counted`
	countUpstreams   = `SELECT count(*) FROM (SELECT 1 FROM upstreams WHERE tenant_id = $1 LIMIT $2) AS counted`
	countGroups      = `SELECT count(*) FROM (SELECT 1 FROM upstream_groups WHERE tenant_id = $1 LIMIT $2) AS counted`
)

// within refuses what this transaction has just made where there are more of it
// than may be. The transaction has the row of the owner for itself, so that it
// sees all there are.
func (t *tx) within(l meta.Limit, count string, args ...any) error {
	if l.Unlimited() {
		return nil
	}
	var n int
	if _, err := t.find(count, append(args, l.Read()), &n); err != nil {
		return err
	}
	return l.Check(n)
}
