package sqlitemeta

import (
	"strings"
	"testing"
)

// The statements that requests wait for, and those that must not grow with the
// number of tenants, go through indexes; lists come out of them in order.
func TestTenantStatementsUseIndexes(t *testing.T) {
	s := open(t, Options{})
	for name, c := range map[string]struct {
		query string
		args  []any
	}{
		"findSiteBySlugs":  {findSiteBySlugs, []any{"acme", "main"}},
		"findSiteByDomain": {findSiteByDomain, []any{"registry.acme.com"}},
		"findAccountByKey": {findAccountByKey, []any{1, "ci", make([]byte, 32), 0}},
		"findTenant":       {findTenant, []any{"acme"}},
		"listTenants":      {listTenants, []any{"", 10}},
		"findSlug":         {findSlug, []any{"acme"}},
		"listRegistries":   {listRegistries, []any{1, "", 10}},
		"listDomains":      {listDomains, []any{1, "", 10}},
		"domainIsTaken":    {domainIsTaken, []any{1, "registry.acme.com"}},
		"listAccounts":     {listAccounts, []any{1, "", 10}},
		"listAccountKeys":  {listAccountKeys, []any{1, "ci"}},
		"listEvents":       {listEvents, []any{1, 10, 10}},
	} {
		err := s.list(t.Context(), "EXPLAIN QUERY PLAN "+c.query, c.args, func(scan scan) error {
			var id, parent, unused int
			var step string
			if err := scan(&id, &parent, &unused, &step); err != nil {
				return err
			}
			if strings.HasPrefix(step, "SCAN ") && !strings.HasPrefix(step, "SCAN CONSTANT") || strings.HasPrefix(name, "list") && strings.Contains(step, "TEMP B-TREE") {
				t.Errorf("%s: %s", name, step)
			}
			return nil
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
