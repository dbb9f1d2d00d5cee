package sqlmeta

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"strconv"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

const (
	listTagHistory = `
SELECT h.version, h.at, h.actor, h.verb, h.manifest, h.previous
  FROM repositories r JOIN tag_history h ON h.tenant_id = r.tenant_id AND h.repo_id = r.id
 WHERE r.tenant_id = $1 AND r.registry_id = $2 AND r.name = $3 AND r.state = 'active'
   AND h.name = $4 AND h.version < $5
   AND h.version > (SELECT max(n.version) FROM tag_history n WHERE n.tenant_id = h.tenant_id AND n.repo_id = h.repo_id AND n.name = h.name) - $6
 ORDER BY h.version DESC LIMIT $7`

	findActiveRepository = `SELECT 1 FROM repositories WHERE tenant_id = $1 AND registry_id = $2 AND name = $3 AND state = 'active'`
)

func scanTagChange(scan Scan) (meta.TagChange, error) {
	var c meta.TagChange
	err := scan(&c.Version, timeScanner{&c.At}, &c.Actor, &c.Verb, digestOrNull{&c.Digest}, digestOrNull{&c.Previous})
	return c, err
}

// ListTagHistory implements meta.TagHistory.
func (s *Records) ListTagHistory(ctx context.Context, r meta.Repo, tag string, p meta.Page) ([]meta.TagChange, error) {
	before := int64(math.MaxInt64)
	if p.After != "" {
		var err error
		if before, err = strconv.ParseInt(p.After, 10, 64); err != nil {
			return nil, fault.Wrap(err, fault.Invalid, fault.PageTokenInvalid, "the page token is not from this list")
		}
	}
	rows, err := list(ctx, s, r.Tenant, scanTagChange, listTagHistory, r.Tenant, r.Registry, r.Name, tag, before, meta.MaxTagChanges, p.Size)
	if err != nil || len(rows) > 0 {
		return rows, err
	}
	return rows, s.findActive(ctx, r)
}

// digestOrNull reads a digest; NULL is the empty one.
type digestOrNull struct{ to *oci.Digest }

var _ sql.Scanner = digestOrNull{}

// Scan implements sql.Scanner.
func (s digestOrNull) Scan(v any) error {
	if v == nil {
		*s.to = ""
		return nil
	}
	b, ok := v.([]byte)
	if !ok {
		return fmt.Errorf("sqlmeta: %T is not a digest", v)
	}
	var err error
	*s.to, err = oci.DigestFromBytes(b)
	return err
}
