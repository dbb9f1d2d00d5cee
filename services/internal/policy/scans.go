package policy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/berth-registry/berth/pkg/cosign"
	"github.com/berth-registry/berth/pkg/cosign/keyless"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/scan"
	"github.com/berth-registry/berth/services/internal/respond"
)

// Limits of a search for results of scans.
const (
	maxScanBytes = 64 << 20 // of all documents that are read
	// maxTagged is how many results under cosign's tag are looked at, the last ones first:
	// cosign adds new ones at the end.
	maxTagged = 8
	// maxAhead is how far the clock of a scanner may be ahead.
	maxAhead = 5 * time.Minute
	// maxUpload is how much earlier than its scan the manifest of a result may say that it was
	// made, by another clock.
	maxUpload = time.Hour
)

// createdAnnotation is when a manifest was made (image-spec, annotations.md).
const createdAnnotation = "org.opencontainers.image.created"

// Scans look for results of scans of one manifest, in several places. The newest that counts
// is what decides.
type Scans struct {
	scan.Newest

	subject oci.Digest
	signers Signers
	now     time.Time
	seen    map[oci.Digest]bool // documents
	bytes   int64
	found   int
	why     error  // of the last result that does not count
	hidden  string // why newer results may be there that were not read
}

// NewScans looks for results about the manifest d that one of the signers has signed, if there
// are any.
func NewScans(d oci.Digest, by Signers, now time.Time) *Scans {
	return &Scans{subject: d, signers: by, now: now, seen: map[oci.Digest]bool{}}
}

// Hidden says why the newest result is not known, although there are results: there is too
// much to read. It is empty otherwise.
func (s *Scans) Hidden() string { return s.hidden }

// Lacking says what is asked for, and why what was found is not it.
func (s *Scans) Lacking() string {
	need := "the image needs the result of a scan"
	if !s.signers.None() {
		need += ", signed by one of its " + s.signers.kind()
	}
	if e := s.signers.untrusted; e != nil {
		need += " (no identity can be verified: " + e.Error() + ")"
	}
	switch {
	case s.found == 0:
		return need + ": it has none"
	case s.why != nil:
		return fmt.Sprintf("%s: none of %d is one, and one does not count: %s", need, s.found, s.why)
	default:
		return fmt.Sprintf("%s: none of %d is one", need, s.found)
	}
}

// Look looks in one place. The error is of what could not be read.
func (s *Scans) Look(ctx context.Context, from Content, r meta.Repo) error {
	search := newSearch(r, meta.Manifest{Digest: s.subject}, []meta.SignatureRule{{Keys: s.signers.Keys}}, from)
	search.signers = s.signers
	l := &look{search: search, subject: s.subject, left: maxEvidence}
	s.readTag(ctx, l)
	referrers, err := from.ListReferrers(ctx, r, s.subject)
	l.fail(err)
	for _, one := range s.candidates(referrers) {
		latest := s.now
		if made, ok := madeAt(one); ok {
			if latest = made.Add(maxUpload); s.Found && s.At.After(latest) {
				break // no result that follows is newer
			}
		}
		if l.left--; l.left < 0 {
			s.hidden = fmt.Sprintf("it has more than %d referrers that may be newer results; delete those that are not needed", maxEvidence)
			break
		}
		if m, ok := l.find(ctx, oci.Reference{Digest: one.Digest}); ok {
			for _, layer := range m.Blobs[1:] {
				s.read(ctx, l, m, layer, latest)
			}
		}
	}
	return l.failure
}

// candidates are the referrers that may be results, those first whose manifest says that it is
// the youngest. No result counts whose manifest says that it was made before the scan, so those
// that follow are older. A pusher decides what its own manifest says, and not what others do:
// one that is made to look young is read, and hides none.
func (s *Scans) candidates(referrers []meta.Referrer) []meta.Referrer {
	types := []string{cosign.Bundle, cosign.InToto, "application/vnd.oci.empty.v1+json", ""}
	if s.signers.None() {
		types = append(types, scan.SARIF)
	}
	predicates := []string{"", scan.Predicate, scan.OldPredicate, cosign.SignPredicate} // which cosign 2.6 gives to attestations, too
	var found []meta.Referrer
	for _, r := range referrers {
		if slices.Contains(types, r.ArtifactType) && slices.Contains(predicates, r.Annotations[cosign.PredicateAnnotation]) {
			found = append(found, r)
		}
	}
	slices.SortStableFunc(found, func(a, b meta.Referrer) int {
		x, knownX := madeAt(a)
		y, knownY := madeAt(b)
		switch {
		case knownX && knownY:
			return y.Compare(x)
		case knownX:
			return 1
		case knownY:
			return -1
		default:
			return cmp.Compare(a.Digest, b.Digest)
		}
	})
	return found
}

func madeAt(r meta.Referrer) (time.Time, bool) {
	at, err := time.Parse(time.RFC3339, r.Annotations[createdAnnotation])
	return at, err == nil
}

// readTag reads the last results under the tag of cosign.
func (s *Scans) readTag(ctx context.Context, l *look) {
	m, ok := l.find(ctx, oci.Reference{Tag: cosign.AttestationTag(s.subject)})
	if !ok {
		return
	}
	left := maxTagged
	for _, layer := range slices.Backward(m.Blobs[1:]) {
		if p := layer.Annotations[cosign.PredicateTypeAnnotation]; p != "" && p != scan.Predicate && p != scan.OldPredicate {
			continue
		}
		if left--; left < 0 {
			return
		}
		s.read(ctx, l, m, layer, s.now)
	}
}

// read reads one document, and takes it if it is a result that counts. Its manifest says that
// the scan ended before latest.
func (s *Scans) read(ctx context.Context, l *look, m companion, layer oci.Descriptor, latest time.Time) {
	sarif := layer.MediaType == scan.SARIF || m.ArtifactType == scan.SARIF
	if !sarif && layer.MediaType != cosign.Bundle && layer.MediaType != cosign.Envelope || s.seen[layer.Digest] {
		return
	}
	if s.bytes += layer.Size; s.bytes > maxScanBytes {
		s.hidden = fmt.Sprintf("its attestations and results have more than %d bytes; delete those that are not needed", maxScanBytes)
		return
	}
	document, err := readBlob(ctx, l.from, l.repo, layer, scan.MaxResult)
	switch {
	case errors.Is(err, errTooLong):
		s.hidden = fmt.Sprintf("one has more than %d bytes", scan.MaxResult)
		return
	case errors.Is(err, respond.ErrContentLost): // it may be the newest
		s.hidden = "the stored bytes of one are lost; push it again"
		return
	case err != nil:
		l.fail(err)
		return
	}
	s.seen[layer.Digest] = true
	var r scan.Result
	if sarif {
		r, err = s.readSARIF(document, m)
	} else {
		r, err = s.readAttestation(ctx, l, document, layer)
	}
	switch {
	case errors.Is(err, cosign.ErrOtherPredicate):
		return
	case err == nil && r.At.After(s.now.Add(maxAhead)):
		err = errors.New("it says that the scan ended in the future")
	case err == nil && r.At.After(latest.Add(maxAhead)):
		err = errors.New("its manifest says that it was made before the scan ended")
	}
	if s.found++; err != nil {
		s.why = err
		return
	}
	s.Take(r)
}

// readSARIF reads a log, which no signature proves. Its manifest says whom it is about.
func (s *Scans) readSARIF(document []byte, m companion) (scan.Result, error) {
	switch {
	case m.Subject == nil || m.Subject.Digest != s.subject:
		return scan.Result{}, errors.New("it is of another manifest")
	case !s.signers.None():
		return scan.Result{}, errors.New("it is not signed")
	}
	return scan.ReadSARIF(document, m.Annotations[createdAnnotation])
}

func (s *Scans) readAttestation(ctx context.Context, l *look, document []byte, layer oci.Descriptor) (scan.Result, error) {
	said, err := cosign.ReadAttestation(document, layer.MediaType, s.subject, scan.Predicate, scan.OldPredicate)
	if err != nil {
		return scan.Result{}, err
	}
	if !s.signers.None() {
		l.verdict, l.why = verdict{}, nil
		l.compare(ctx, "", said.Signature)
		if len(l.verdict.keys) == 0 {
			l.identify(ctx, "", func() (keyless.Signature, error) {
				return keyless.ReadAttestation(document, layer.MediaType, layer.Annotations, s.subject)
			})
		}
		if len(l.verdict.keys) == 0 && !l.verdict.identified {
			return scan.Result{}, cmp.Or(l.why, errors.New("it is signed by none of them"))
		}
	}
	return scan.ReadRecord(said.Predicate)
}
