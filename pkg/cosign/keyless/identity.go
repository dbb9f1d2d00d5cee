package keyless

import (
	"errors"
	"fmt"

	"github.com/sigstore/sigstore-go/pkg/verify"
)

// Identity is who a certificate says has signed.
type Identity struct {
	Issuer  string // of the login, as the URL of an OpenID Connect issuer
	Subject string // a mail address, or the URI of a workload
}

// maxIdentity bounds issuer and subject, in bytes each.
const maxIdentity = 2048

// errNoTime is the error for a signature whose time nothing proves.
var errNoTime = errors.New("it has neither an entry of a log nor a timestamp that the trusted root can verify")

// Signer verifies the signature with a trusted root, and returns who signed. The certificate
// must have been valid when an entry of a log or a timestamp says that it was used. It has
// to be in a certificate transparency log if the root lists any.
func (s Signature) Signer(r *Root) (Identity, error) {
	err := errNoTime
	if r.logged != nil && len(s.entity.GetVerificationMaterial().GetTlogEntries()) > 0 {
		var who Identity
		if who, err = s.verify(r.logged, s.entity); err == nil {
			return who, nil
		}
	}
	if r.timed != nil && len(s.entity.GetVerificationMaterial().GetTimestampVerificationData().GetRfc3161Timestamps()) > 0 {
		return s.verify(r.timed, s.timed())
	}
	return Identity{}, err
}

// verify has the signature verified. The identity is compared by the caller, who can then
// say whose signature was found.
func (s Signature) verify(v *verify.Verifier, entity verify.SignedEntity) (Identity, error) {
	result, err := guarded(func() (*verify.VerificationResult, error) {
		return v.Verify(entity, verify.NewPolicy(s.signed(), verify.WithoutIdentitiesUnsafe()))
	})
	if err != nil {
		return Identity{}, err
	}
	if result.Signature == nil || result.Signature.Certificate == nil {
		return Identity{}, ErrNoCertificate
	}
	who := Identity{Issuer: result.Signature.Certificate.Issuer, Subject: result.Signature.Certificate.SubjectAlternativeName}
	if max(len(who.Issuer), len(who.Subject)) > maxIdentity {
		return Identity{}, fmt.Errorf("its certificate has an issuer or subject of more than %d bytes", maxIdentity)
	}
	return who, nil
}
