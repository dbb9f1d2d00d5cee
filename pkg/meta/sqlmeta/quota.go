package sqlmeta

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/berth-registry/berth/pkg/fault"
)

// exceeded is a row of the view exceeded_quotas.
type exceeded struct {
	Of   string `json:"of"`   // "registry" or "tenant"
	What string `json:"what"` // "bytes", "repositories", "manifests" or "tags"
	Used int64  `json:"used"` // with what is refused
	Max  int64  `json:"max"`
}

// QuotaUsedUp is the error of what a trigger refused, by what it said: the JSON of a row of
// exceeded_quotas, and maybe more text.
func QuotaUsedUp(refusal string) error {
	var e exceeded
	if err := json.NewDecoder(strings.NewReader(refusal)).Decode(&e); err != nil {
		return fmt.Errorf("sqlmeta: refusal of a quota: %w", err)
	}
	whose, raise := "this registry", fmt.Sprintf("raise quota.%s of the registry", e.What)
	if e.Of == "tenant" {
		whose, raise = "all registries of the tenant", fmt.Sprintf("ask the operator to raise max_%s of the tenant", e.What)
	}
	return fault.New(fault.Denied, fault.QuotaExceeded, "quota exceeded: with this, %s would hold %d %s, and the quota is %d; delete what is not needed, or %s",
		whose, e.Used, e.What, e.Max, raise).WithDetail("quota exceeded")
}

// What registries hold, as columns of meta.Hosted.
const (
	hostedByTenant = `
       (SELECT coalesce(CAST(sum(x.bytes) AS bigint), 0) FROM registry_usage x WHERE x.tenant_id = u.tenant_id),
       (SELECT coalesce(CAST(sum(x.repositories) AS bigint), 0) FROM registry_usage x WHERE x.tenant_id = u.tenant_id),
       (SELECT coalesce(CAST(sum(x.manifests) AS bigint), 0) FROM registry_usage x WHERE x.tenant_id = u.tenant_id),
       (SELECT coalesce(CAST(sum(x.tags) AS bigint), 0) FROM registry_usage x WHERE x.tenant_id = u.tenant_id),
       coalesce((SELECT TRUE FROM usage_counting c WHERE c.tenant_id = u.tenant_id), FALSE)`

	hostedByRegistry = `
       coalesce((SELECT x.bytes FROM registry_usage x WHERE x.tenant_id = registries.tenant_id AND x.registry_id = registries.id), 0),
       coalesce((SELECT x.repositories FROM registry_usage x WHERE x.tenant_id = registries.tenant_id AND x.registry_id = registries.id), 0),
       coalesce((SELECT x.manifests FROM registry_usage x WHERE x.tenant_id = registries.tenant_id AND x.registry_id = registries.id), 0),
       coalesce((SELECT x.tags FROM registry_usage x WHERE x.tenant_id = registries.tenant_id AND x.registry_id = registries.id), 0),
       coalesce((SELECT TRUE FROM usage_counting c WHERE c.tenant_id = registries.tenant_id), FALSE)`
)
