package sqlmeta

import (
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/retention"
	"github.com/berth-registry/berth/pkg/tagrule"
	"github.com/berth-registry/berth/pkg/tenant"
)

// What a deletion was decided by is compared with what is there, in its own transaction,
// which has locked the manifest and the tags that point to it.
const (
	basisPushed = `
SELECT m.created_at, (SELECT max(h.at) FROM tag_history h WHERE h.tenant_id = $1 AND h.repo_id = $2 AND h.previous = $3)
  FROM manifests m WHERE m.tenant_id = $1 AND m.repo_id = $2 AND m.digest = $3 AND m.expire_at IS NULL`

	basisThere = `SELECT 1 FROM manifests m WHERE m.tenant_id = $1 AND m.repo_id = $2 AND m.digest = $3 AND m.expire_at IS NULL`

	basisTags = `SELECT g.name, g.version FROM tags g WHERE g.tenant_id = $1 AND g.repo_id = $2 AND g.manifest = $3`

	basisReferrers = `SELECT m.digest FROM manifests m WHERE m.tenant_id = $1 AND m.repo_id = $2 AND m.subject = $3 AND m.expire_at IS NULL`

	basisCompanion = `SELECT g.manifest FROM tags g WHERE g.tenant_id = $1 AND g.repo_id = $2 AND g.name = $3 AND g.manifest IS NOT NULL`

	// The last change of a tag, which is its deletion by now.
	basisMoved = `
SELECT h.version, h.previous FROM tag_history h WHERE h.tenant_id = $1 AND h.repo_id = $2 AND h.name = $3 ORDER BY h.version DESC LIMIT 1`

	basisPullsPostgres = `
SELECT max(p.pulled_at)
  FROM json_array_elements_text(CAST($3 AS json)) AS j (digest)
 CROSS JOIN LATERAL (
        SELECT p.pulled_at FROM manifest_pulls p
         WHERE p.tenant_id = $1 AND p.repo_id = $2 AND p.digest = decode(j.digest, 'hex') OFFSET 0) AS p`

	basisPullsSQLite = `
SELECT max(p.pulled_at)
  FROM json_each($3) j CROSS JOIN manifest_pulls p ON p.tenant_id = $1 AND p.repo_id = $2 AND p.digest = unhex(j.value)`
)

// CheckBasis compares the manifest of a deletion with what that was decided by:
// EvaluatedOtherwise says what has changed.
func CheckBasis(t Tx, id tenant.ID, repo int64, b retention.Basis) error {
	c := basisCheck{t, id, repo, b}
	for _, check := range []func(basisCheck) (string, error){basisCheck.pushed, basisCheck.tags, basisCheck.companions, basisCheck.gone, basisCheck.pulls} {
		changed, err := check(c)
		if err != nil {
			return err
		}
		if changed != "" {
			return meta.EvaluatedOtherwise(changed)
		}
	}
	return nil
}

// CheckTagBasis is CheckBasis of the deletion of a tag alone, which is done by now.
func CheckTagBasis(t Tx, id tenant.ID, repo int64, b retention.Basis) error {
	tag := b.Tags[0]
	var version int64
	var was oci.Digest
	found, err := t.Find(basisMoved, []any{id, repo, tag.Name}, &version, digestScanner{&was})
	if err != nil {
		return err
	}
	if !found || version != tag.Version+1 || was != tag.Digest {
		return meta.EvaluatedOtherwise("the tag moved")
	}
	changed, err := basisCheck{t, id, repo, b}.pulls()
	if err == nil && changed != "" {
		err = meta.EvaluatedOtherwise(changed)
	}
	return err
}

// basisCheck compares. Each part returns what has changed; empty: nothing.
type basisCheck struct {
	Tx

	tenant tenant.ID
	repo   int64
	retention.Basis
}

func (c basisCheck) args(last any) []any { return []any{c.tenant, c.repo, last} }

// pushed compares when the manifest was pushed, and when the last tag left it.
func (c basisCheck) pushed() (string, error) {
	var pushed, untagged time.Time
	found, err := c.Find(basisPushed, c.args(c.Manifest.Digest.Bytes()), timeScanner{&pushed}, timeScanner{&untagged})
	switch {
	case err != nil:
		return "", err
	case !found:
		return "the manifest was deleted", nil
	case !pushed.Equal(c.Manifest.PushedAt):
		return "the manifest was pushed", nil
	case untagged.After(c.Manifest.UntaggedAt):
		return "a tag of the manifest moved", nil
	}
	return "", nil
}

func (c basisCheck) tags() (string, error) {
	there, known := map[string]int64{}, map[string]int64{}
	for _, tag := range c.Tags {
		known[tag.Name] = tag.Version
	}
	err := c.List(basisTags, c.args(c.Manifest.Digest.Bytes()), func(scan Scan) error {
		var name string
		var version int64
		err := scan(&name, &version)
		there[name] = version
		return err
	})
	if err == nil && !maps.Equal(there, known) {
		return "a tag of the manifest moved", nil
	}
	return "", err
}

func (c basisCheck) companions() (string, error) {
	var there []oci.Digest
	read := func(scan Scan) error {
		var d oci.Digest
		err := scan(digestScanner{&d})
		there = append(there, d)
		return err
	}
	if err := c.List(basisReferrers, c.args(c.Manifest.Digest.Bytes()), read); err != nil {
		return "", err
	}
	for _, name := range tagrule.Companions(c.Manifest.Digest) {
		if err := c.List(basisCompanion, c.args(name), read); err != nil {
			return "", err
		}
	}
	known := map[oci.Digest]bool{}
	for _, d := range c.Companions {
		known[d] = true
	}
	if slices.ContainsFunc(there, func(d oci.Digest) bool { return !known[d] }) {
		return "a companion of the manifest was pushed", nil
	}
	return "", nil
}

// gone finds what the manifest accompanies, and whose deletion was refused, or that was
// pushed again.
func (c basisCheck) gone() (string, error) {
	for _, d := range c.Gone {
		var one int64
		found, err := c.Find(basisThere, c.args(d.Bytes()), &one)
		if err != nil {
			return "", err
		}
		if found {
			return "what the manifest accompanies was pushed, or stays", nil
		}
	}
	return "", nil
}

func (c basisCheck) pulls() (string, error) {
	if len(c.Pulled) == 0 {
		return "", nil
	}
	digests := make([]string, len(c.Pulled))
	for i, d := range c.Pulled {
		digests[i] = hex.EncodeToString(d.Bytes())
	}
	list, err := json.Marshal(digests)
	if err != nil {
		return "", err
	}
	var last time.Time
	if _, err := c.Find(c.Pick(basisPullsSQLite, basisPullsPostgres), c.args(string(list)), timeScanner{&last}); err != nil {
		return "", err
	}
	if last.After(c.PulledAt) {
		return "the manifest was pulled", nil
	}
	return "", nil
}
