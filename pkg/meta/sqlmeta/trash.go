package sqlmeta

import (
	"context"
	"encoding/hex"
	"fmt"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// What the trash of a repository has. The stores put things there, take them out and
// end them; here they are read.
const (
	trashOf = `
  FROM repositories r
  JOIN trashed_manifests m ON m.tenant_id = r.tenant_id AND m.repo_id = r.id
 WHERE r.tenant_id = $1 AND r.registry_id = $2 AND r.name = $3 AND r.state = 'active' AND m.restore_until > berth_now()`

	listTrash = `
SELECT m.digest, m.media_type, m.size, m.subject, m.tags, m.actor, m.deleted_at, m.restore_until` + trashOf + `
   AND m.digest > $4 ORDER BY m.digest LIMIT $5`

	findTrashed = `
SELECT m.media_type, m.payload, m.tags, m.children, m.op` + trashOf + ` AND m.digest = $4`

	// The referrers that were deleted with it.
	trashedReferrers = `
SELECT m.digest` + trashOf + ` AND m.subject = $4 AND m.op = $5 AND m.digest > $6 ORDER BY m.digest LIMIT $7`

	// What a delete of the live manifest took with it.
	leftReferrers = `
SELECT m.op` + trashOf + ` AND m.subject = $4
   AND EXISTS (SELECT 1 FROM manifests x WHERE x.tenant_id = m.tenant_id AND x.repo_id = m.repo_id AND x.digest = m.subject)
   AND EXISTS (SELECT 1 FROM events e WHERE e.tenant_id = m.tenant_id AND e.op = m.op AND e.target LIKE '%' || $5)
 LIMIT 1`

	isLive = `
SELECT m.digest
  FROM repositories r
  JOIN manifests m ON m.tenant_id = r.tenant_id AND m.repo_id = r.id AND m.digest = $4
 WHERE r.tenant_id = $1 AND r.registry_id = $2 AND r.name = $3 AND r.state = 'active'`

	tagOf = `
SELECT g.manifest
  FROM repositories r
  JOIN tags g ON g.tenant_id = r.tenant_id AND g.repo_id = r.id AND g.name = $4 AND g.manifest IS NOT NULL
 WHERE r.tenant_id = $1 AND r.registry_id = $2 AND r.name = $3 AND r.state = 'active'`

	isRepository = `
SELECT name FROM repositories WHERE tenant_id = $1 AND registry_id = $2 AND name = $3 AND state = 'active'`
)

// DigestAfter is where a page of digests begins.
func DigestAfter(p meta.Page) ([]byte, error) {
	if p.After == "" {
		return []byte{0}, nil // less than every stored digest
	}
	d, err := oci.ParseDigest(p.After)
	return d.Bytes(), err
}

// ListTrash implements meta.Trash.
func (s *Records) ListTrash(ctx context.Context, r meta.Repo, p meta.Page) ([]meta.Trashed, error) {
	after, err := DigestAfter(p)
	if err != nil {
		return nil, err
	}
	trash, err := list(ctx, s, r.Tenant, scanTrashed, listTrash, r.Tenant, r.Registry, r.Name, after, p.Size)
	if err == nil && len(trash) == 0 {
		unknown := fault.New(fault.NotFound, fault.NameUnknown, "repository %q is not known to this registry", r.Name)
		_, err = find(ctx, s, r.Tenant, unknown, scanName, isRepository, r.Tenant, r.Registry, r.Name)
	}
	return trash, err
}

func scanTrashed(scan Scan) (meta.Trashed, error) {
	var m meta.Trashed
	err := scan(digestScanner{&m.Digest}, &m.MediaType, &m.Size, digestScanner{&m.Subject}, jsonScanner{&m.Tags}, &m.Actor,
		timeScanner{&m.DeletedAt}, timeScanner{&m.RestoreUntil})
	return m, err
}

func scanName(scan Scan) (string, error) {
	var name string
	err := scan(&name)
	return name, err
}

func scanOne(scan Scan) (int64, error) {
	var one int64
	err := scan(&one)
	return one, err
}

func scanOp(scan Scan) (uuid.UUID, error) {
	var op uuid.UUID
	err := scan(&op)
	return op, err
}

// ScanDigest reads a row that is a digest.
func ScanDigest(scan Scan) (oci.Digest, error) {
	var d oci.Digest
	err := scan(digestScanner{&d})
	return d, err
}

// trashed is what is put again.
type trashed struct {
	digest    oci.Digest
	mediaType string
	payload   []byte
	tags      []string
	children  []oci.Digest // that it held
	op        uuid.UUID    // of the delete
}

func scanForUndelete(scan Scan) (trashed, error) {
	var m trashed
	err := scan(&m.mediaType, &m.payload, jsonScanner{&m.tags}, ScanDigests(&m.children), &m.op)
	return m, err
}

// digestScanner reads a digest; NULL is the empty one.
type digestScanner struct{ to *oci.Digest }

// Scan implements sql.Scanner.
func (s digestScanner) Scan(v any) error {
	switch v := v.(type) {
	case nil:
		*s.to = ""
		return nil
	case []byte:
		var err error
		*s.to, err = oci.DigestFromBytes(v)
		return err
	default:
		return fmt.Errorf("sqlmeta: %T is not a digest", v)
	}
}

// ScanDigests reads the children of a trashed manifest.
func ScanDigests(to *[]oci.Digest) interface{ Scan(any) error } { return digestsScanner{to} }

type digestsScanner struct{ to *[]oci.Digest }

// Scan implements sql.Scanner.
func (s digestsScanner) Scan(v any) error {
	var texts []string
	if err := (jsonScanner{&texts}).Scan(v); err != nil {
		return err
	}
	*s.to = make([]oci.Digest, len(texts))
	for i, text := range texts {
		stored, err := hex.DecodeString(text)
		if err != nil {
			return err
		}
		if (*s.to)[i], err = oci.DigestFromBytes(stored); err != nil {
			return err
		}
	}
	return nil
}
