package meta

import "github.com/berth-registry/berth/pkg/oci"

// SignerIdentity is a signer that a certificate names.
type SignerIdentity struct {
	Issuer  string `json:"issuer"`
	Subject string `json:"subject"` // a pattern
}

// Accepts reports whether the issuer and subject of a certificate are this identity.
func (i SignerIdentity) Accepts(issuer, subject string) bool {
	return i.Issuer == issuer && oci.MatchesAny([]string{i.Subject}, subject)
}
