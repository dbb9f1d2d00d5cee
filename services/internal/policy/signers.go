package policy

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/berth-registry/berth/pkg/cosign"
	"github.com/berth-registry/berth/pkg/cosign/keyless"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// Signers are those of whom one must have signed a manifest.
type Signers struct {
	Keys       []string // in PEM
	Identities []meta.SignerIdentity
	root       *keyless.Root // that verifies certificates; nil: no identity counts
	untrusted  error         // why it is nil
}

// Signers returns signers of whom identities are verified by the trusted root of a text, or
// the operator's if that is empty. Without a trusted root, keys still count.
func (t *Trust) Signers(keys []string, identities []meta.SignerIdentity, trustedRoot string) Signers {
	by := Signers{Keys: keys, Identities: identities}
	if len(identities) > 0 {
		by.root, by.untrusted = t.Root(trustedRoot)
	}
	return by
}

// None reports whether no signature is asked for.
func (s Signers) None() bool { return len(s.Keys)+len(s.Identities) == 0 }

// Lacking says what is asked for, and why what VerifySigned found is not it.
func (s Signers) Lacking(why string) string {
	if s.untrusted != nil {
		why += "; no identity can be verified: " + s.untrusted.Error()
	}
	return "the image needs a signature by one of its " + s.kind() + ": " + why
}

func (s Signers) kind() string {
	switch {
	case len(s.Keys) == 0:
		return "identities"
	case len(s.Identities) > 0:
		return "keys or identities"
	default:
		return "keys"
	}
}

// VerifySigned reports whether a manifest itself has a signature by one of the signers, and if
// so the manifests that hold it. Otherwise the text says why not. The error is of what could
// not be read.
func VerifySigned(ctx context.Context, from Content, r meta.Repo, m meta.Manifest, by Signers) ([]oci.Digest, string, error) {
	s := newSearch(r, m, []meta.SignatureRule{{Keys: by.Keys}}, from)
	s.signers = by
	v, err := s.verify(ctx, m.Digest)
	switch {
	case v.identified || v.meets(s.rules):
		return v.by, "", nil
	case err != nil:
		return nil, "", err
	default:
		return nil, s.lacking(), nil
	}
}

// identityTries is as how many tries a signature with a certificate counts: it takes some
// milliseconds to verify, and one that was made to be slow takes a second.
const identityTries = 100

// identify notes whether the certificate of a signature is of one of the signers. read reads
// the signature.
func (l *look) identify(ctx context.Context, by oci.Digest, read func() (keyless.Signature, error)) {
	if l.signers.root == nil || len(l.signers.Identities) == 0 {
		return
	}
	if ctx.Err() != nil {
		l.fail(fault.From(ctx.Err()))
		return
	}
	signature, err := read()
	if errors.Is(err, keyless.ErrNoCertificate) {
		return // it is by a key
	}
	if err != nil {
		l.why = err
		return
	}
	if l.tries += identityTries; l.tries > maxTries {
		l.why = errors.New("there are too many signatures to verify")
		return
	}
	who, err := signature.Signer(l.signers.root)
	if err != nil {
		l.why = fmt.Errorf("the trusted root does not verify it: %s", fault.Clip(err.Error()))
		return
	}
	if !slices.ContainsFunc(l.signers.Identities, func(i meta.SignerIdentity) bool { return i.Accepts(who.Issuer, who.Subject) }) {
		l.why = fmt.Errorf("it is by another identity, %s of %s", fault.ClipTo(who.Subject, maxShown), fault.ClipTo(who.Issuer, maxShown))
		return
	}
	l.verdict.identified = true
	l.verdict.shownBy(by)
}

// maxShown bounds an issuer or subject in a message, in bytes.
const maxShown = 200

// readCertified is read for a signature with a certificate.
func (l *look) readCertified(ctx context.Context, layer oci.Descriptor, document []byte) (keyless.Signature, error) {
	if layer.MediaType == cosign.SimpleSigning {
		return keyless.ReadSimple(document, layer.Annotations, l.subject)
	}
	return keyless.ReadBundle(document, l.subject, l.load(ctx))
}
