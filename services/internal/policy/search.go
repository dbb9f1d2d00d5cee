package policy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/berth-registry/berth/pkg/cosign"
	"github.com/berth-registry/berth/pkg/cosign/keyless"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

const (
	// maxEvidence is how many signatures, and referrers, are looked at for one manifest.
	maxEvidence = 100
	// maxSignature bounds a payload or bundle, in bytes.
	maxSignature = 256 << 10
)

// search looks for signatures of a manifest, and of indexes that list it, that meet the
// rules.
type search struct {
	repo     meta.Repo
	manifest meta.Manifest
	rules    []meta.SignatureRule
	keys     map[string]cosign.Key // by their PEM
	signers  Signers               // whose identities are enough, too
	from     Content
	found    int   // signatures that were looked at
	tries    int   // of a signature with a key, or as many for one of a certificate
	why      error // of the last signature that could not be used
}

// maxTries is how many signatures are compared with a key in one search: each takes up to a
// millisecond, also after the client has left.
const maxTries = 4000

func newSearch(r meta.Repo, m meta.Manifest, rules []meta.SignatureRule, from Content) *search {
	s := &search{repo: r, manifest: m, rules: rules, keys: map[string]cosign.Key{}, from: from}
	for _, rule := range rules {
		for _, text := range rule.Keys {
			if key, err := cosign.ParseKey(text); err == nil { // it was checked before it was set
				s.keys[text] = key
			}
		}
	}
	return s
}

// lacking says why none of the signatures that were found is enough.
func (s *search) lacking() string {
	switch {
	case s.found == 0:
		return "it has none"
	case s.why != nil:
		return fmt.Sprintf("none of %d is one, and one cannot be used: %s", s.found, s.why)
	default:
		return fmt.Sprintf("none of %d is one", s.found)
	}
}

// look is the part of a search that is about one manifest: the one that is to be served, or
// an index that lists it.
type look struct {
	*search
	subject oci.Digest
	left    int // how many more are looked at
	verdict verdict
	failure error // of what could not be read
}

// verify looks for signatures of the manifest d: under cosign's tag, then among its
// referrers. The error is of what could not be read; then the verdict may lack signatures.
func (s *search) verify(ctx context.Context, d oci.Digest) (verdict, error) {
	l := &look{search: s, subject: d, left: maxEvidence}
	l.readManifest(ctx, oci.Reference{Tag: cosign.Tag(d)})
	if l.met() {
		return l.verdict, nil
	}
	referrers, err := s.from.ListReferrers(ctx, s.repo, d)
	l.fail(err)
	for _, r := range candidates(referrers) {
		if l.left--; l.left < 0 || l.met() {
			break
		}
		l.readManifest(ctx, oci.Reference{Digest: r.Digest})
	}
	return l.verdict, l.failure
}

// candidates are the referrers that may be signatures. Clients that keep the list in a tag
// may give it the type of the config, or none (distribution-spec, "Unavailable Referrers API").
func candidates(referrers []meta.Referrer) []meta.Referrer {
	rank := []string{cosign.Bundle, cosign.SignatureArtifact, "application/vnd.oci.empty.v1+json", ""}
	var found []meta.Referrer
	for _, r := range referrers {
		if p := r.Annotations[cosign.PredicateAnnotation]; slices.Contains(rank, r.ArtifactType) && (p == "" || p == cosign.SignPredicate) {
			found = append(found, r)
		}
	}
	slices.SortStableFunc(found, func(a, b meta.Referrer) int {
		return slices.Index(rank, a.ArtifactType) - slices.Index(rank, b.ArtifactType)
	})
	return found
}

// met reports whether what was found is enough.
func (l *look) met() bool { return l.verdict.identified || l.verdict.meets(l.rules) }

// fail notes an error, unless it says that something does not exist.
func (l *look) fail(err error) {
	if err != nil && !IsAbsent(err) && l.failure == nil {
		l.failure = err
	}
}

// find finds a manifest that has a config, and layers besides.
func (l *look) find(ctx context.Context, ref oci.Reference) (companion, bool) {
	m, err := l.from.FindManifest(ctx, l.repo, ref)
	if err != nil {
		l.fail(err)
		return companion{}, false
	}
	parsed, err := oci.ParseManifest(m.MediaType, m.Payload)
	return companion{parsed, m.Digest}, err == nil && parsed.Config != nil
}

// companion is a manifest that was looked up.
type companion struct {
	*oci.Manifest
	digest oci.Digest
}

// readManifest reads the signatures of a manifest that has them as layers.
func (l *look) readManifest(ctx context.Context, ref oci.Reference) {
	m, ok := l.find(ctx, ref)
	if !ok {
		return
	}
	for _, layer := range m.Blobs[1:] {
		if layer.MediaType != cosign.SimpleSigning && layer.MediaType != cosign.Bundle {
			continue
		}
		if l.left--; l.left < 0 || l.met() {
			return
		}
		l.found++
		l.readLayer(ctx, m.digest, layer)
	}
}

func (l *look) readLayer(ctx context.Context, by oci.Digest, layer oci.Descriptor) {
	document, err := readBlob(ctx, l.from, l.repo, layer, maxSignature)
	switch {
	case errors.Is(err, errTooLong):
		l.why = fmt.Errorf("it has more than %d bytes", maxSignature)
		return
	case err != nil:
		l.fail(err)
		return
	}
	said, err := l.read(ctx, layer, document)
	if err != nil {
		l.why = err
		return
	}
	l.compare(ctx, by, said)
	if !l.met() {
		l.identify(ctx, by, func() (keyless.Signature, error) { return l.readCertified(ctx, layer, document) })
	}
}

// compare notes the keys that a signature is by.
func (l *look) compare(ctx context.Context, by oci.Digest, said cosign.Signature) {
	for text, key := range l.keys {
		if ctx.Err() != nil {
			l.fail(fault.From(ctx.Err()))
			return
		}
		if l.tries += said.Count(); l.tries > maxTries {
			l.why = errors.New("there are too many signatures to compare with the keys")
			return
		}
		if said.VerifiedBy(key) {
			l.verdict.add(text, by)
		}
	}
}

// read compares what a signature says with the manifest.
func (l *look) read(ctx context.Context, layer oci.Descriptor, document []byte) (cosign.Signature, error) {
	if layer.MediaType == cosign.SimpleSigning {
		return cosign.ReadSimple(document, layer.Annotations[cosign.SignatureAnnotation], l.subject)
	}
	return cosign.ReadBundle(document, l.subject, l.load(ctx))
}

// load returns what reads the manifest that signatures are looked for.
func (l *look) load(ctx context.Context) func() ([]byte, error) {
	return func() ([]byte, error) {
		if l.subject == l.manifest.Digest {
			return l.manifest.Payload, nil
		}
		m, err := l.from.FindManifest(ctx, l.repo, oci.Reference{Digest: l.subject})
		l.fail(err)
		return m.Payload, err
	}
}

// explain says what the search found.
func (s *search) explain() string {
	var names []string
	for _, rule := range s.rules {
		if names = append(names, rule.Repositories...); len(rule.Repositories) == 0 {
			names = append(names, "all repositories")
		}
	}
	need := "a signature by a key of the rule for " + fault.Clip(strings.Join(names, ", "))
	if len(s.rules) > 1 {
		need = "signatures by a key of each rule for " + fault.Clip(strings.Join(names, ", "))
	}
	switch {
	case s.found == 0:
		return "it needs " + need + ", and has no signature"
	case s.why != nil:
		return fmt.Sprintf("it needs %s; of %d signatures none suffices, and one cannot be used: %s", need, s.found, s.why)
	default:
		return fmt.Sprintf("it needs %s, and none of %d signatures suffices", need, s.found)
	}
}
