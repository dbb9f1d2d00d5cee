package pullrules

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/services/internal/policy"
)

// scanned asks for the newest result of a scan. Results of the manifest itself decide. For one
// without any those of its platforms do, of which each must have one, if it is an index, else
// those of the indexes that name it.
func (j judgement) scanned(ctx context.Context, all []source, m meta.Manifest, parsed *oci.Manifest) (verdict, error) {
	own := j.scans(m.Digest)
	if err := look(ctx, own, all); err != nil {
		return verdict{}, err
	}
	switch {
	case decides(own):
		return j.allowed(own), nil
	case len(parsed.Children) > 0:
		return j.platformsScanned(ctx, all, own, parsed)
	default:
		return j.indexScanned(ctx, all, own, m.Digest)
	}
}

func (j judgement) scans(d oci.Digest) *policy.Scans {
	return policy.NewScans(d, j.gate.Trust.Signers(j.rule.Keys, j.rule.Identities, j.rule.TrustedRoot), j.gate.Now())
}

// look looks everywhere. While an upstream cannot be asked, what is stored counts.
func look(ctx context.Context, s *policy.Scans, all []source) error {
	for _, from := range all {
		if err := s.Look(ctx, from.content, from.repo); err != nil && (from.stored != nil || !decides(s)) {
			return err
		}
	}
	return nil
}

// decides reports whether a manifest has results, so that no others count for it.
func decides(s *policy.Scans) bool { return s.Found || s.Hidden() != "" }

// allowed says what the rule says of the newest result.
func (j judgement) allowed(s *policy.Scans) verdict {
	var v verdict
	said, rule := s.At.UTC().Format(time.RFC3339), j.rule.Scan
	if rule.MaxAge > 0 {
		v.until = s.At.Add(rule.MaxAge)
	}
	count, which := s.Findings.Above(rule.MaxSeverity)
	switch {
	case s.Hidden() != "":
		v = verdict{lacking: "not all results of its scans can be read: " + s.Hidden()}
	case rule.MaxAge > 0 && !j.gate.Now().Before(v.until):
		v = verdict{lacking: fmt.Sprintf("the image needs the result of a new scan: the last one ended at %s, more than %s ago", said, rule.MaxAge)}
	case count > 0:
		v = verdict{lacking: fmt.Sprintf("its scan at %s has findings above %s: %s", said, rule.MaxSeverity, which)}
	}
	return v
}

// maxPlatforms bounds the manifests of an index whose results are looked for.
const maxPlatforms = 64

// platformsScanned asks each platform of an index without results of its own. What of it cannot
// be run needs none.
func (j judgement) platformsScanned(ctx context.Context, all []source, own *policy.Scans, index *oci.Manifest) (verdict, error) {
	at := all[len(all)-1]
	if len(index.Children) > maxPlatforms {
		return verdict{lacking: fmt.Sprintf("%s; the index names more than %d manifests, whose results are not looked for", own.Lacking(), maxPlatforms)}, nil
	}
	v := verdict{lacking: own.Lacking()}
	for _, child := range index.Children {
		s := j.scans(child.Digest)
		if err := look(ctx, s, all); err != nil {
			return verdict{}, err
		}
		if !decides(s) {
			needs, err := j.isRunnable(ctx, at, child.Digest)
			if err != nil {
				return verdict{}, err
			}
			if !needs {
				continue
			}
			return verdict{lacking: fmt.Sprintf("%s, and %s: %s", own.Lacking(), child.Digest, s.Lacking())}, nil
		}
		one := j.allowed(s)
		if one.lacking != "" {
			return verdict{lacking: fmt.Sprintf("%s: %s", child.Digest, one.lacking)}, nil
		}
		if v.lacking = ""; v.until.IsZero() || one.until.Before(v.until) {
			v.until = one.until
		}
	}
	return v, nil
}

// isRunnable reports whether a manifest is there and no companion.
func (j judgement) isRunnable(ctx context.Context, at source, d oci.Digest) (bool, error) {
	m, err := at.content.FindManifest(ctx, at.repo, oci.Reference{Digest: d})
	if policy.IsAbsent(err) {
		return false, nil // no client can pull it from here
	}
	if err != nil {
		return false, err
	}
	parsed, err := oci.ParseManifest(m.MediaType, m.Payload)
	if err != nil {
		return false, err
	}
	is, err := j.isCompanion(ctx, at, d, parsed)
	return !is, err
}

// indexScanned asks the indexes that name a manifest without results of its own. Of all their
// results, the newest decides.
func (j judgement) indexScanned(ctx context.Context, all []source, own *policy.Scans, d oci.Digest) (verdict, error) {
	line, err := j.gate.Meta.Lineage(ctx, j.answer.Repo, d)
	if err != nil {
		return verdict{}, err
	}
	left := maxLine
	if j.answer.Upstream != nil {
		left = maxAsked
	}
	var newest *policy.Scans
	for _, one := range slices.Backward(line) {
		if left--; one.Digest == d || left < 0 {
			continue
		}
		s := j.scans(one.Digest)
		if err := look(ctx, s, all); err != nil {
			return verdict{}, err
		}
		if decides(s) && (newest == nil || s.Hidden() != "" || newest.Hidden() == "" && s.At.After(newest.At)) {
			newest = s
		}
	}
	if newest == nil {
		return verdict{lacking: own.Lacking()}, nil
	}
	return j.allowed(newest), nil
}
