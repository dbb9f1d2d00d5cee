package sqlmeta

import (
	"context"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// What is hosted and expires was not pushed. What is cached always expires.
const findPush = `
SELECT m.created_at, berth_now(), coalesce(m.pushed_by, '')
  FROM repositories r JOIN manifests m ON m.tenant_id = r.tenant_id AND m.repo_id = r.id AND m.digest = $4
  JOIN registries g ON g.tenant_id = r.tenant_id AND g.id = r.registry_id
 WHERE r.tenant_id = $1 AND r.registry_id = $2 AND r.name = $3 AND r.state = 'active'
   AND (m.expire_at IS NULL OR g.upstream_id IS NOT NULL)`

// FindPush is meta.Adopter's.
func (s *Records) FindPush(ctx context.Context, r meta.Repo, d oci.Digest) (meta.Push, error) {
	unknown := fault.New(fault.NotFound, fault.ManifestUnknown, "manifest %s not found in this repository", d)
	return find(ctx, s, r.Tenant, unknown, func(scan Scan) (meta.Push, error) {
		var p meta.Push
		err := scan(timeScanner{&p.At}, timeScanner{&p.Now}, &p.Actor)
		return p, err
	}, findPush, r.Tenant, r.Registry, r.Name, d.Bytes())
}
