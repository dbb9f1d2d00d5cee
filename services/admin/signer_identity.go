package admin

import (
	"errors"
	"fmt"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/services/internal/policy"
)

// maxSignerIdentities bounds the identities of a gate.
const maxSignerIdentities = 20

func signerIdentitiesOf(list []*pb.SignerIdentity) []meta.SignerIdentity {
	return mapped(list, func(m *pb.SignerIdentity) meta.SignerIdentity {
		return meta.SignerIdentity{Issuer: m.GetIssuer(), Subject: m.GetSubject()}
	})
}

func signerIdentityMessages(list []meta.SignerIdentity) []*pb.SignerIdentity {
	return mapped(list, func(i meta.SignerIdentity) *pb.SignerIdentity {
		return &pb.SignerIdentity{Issuer: i.Issuer, Subject: i.Subject}
	})
}

func checkSignerIdentities(field string, list []meta.SignerIdentity) error {
	if n := len(list); n > maxSignerIdentities {
		return invalid(field, "%d identities exceed the maximum of %d", n, maxSignerIdentities)
	}
	for i, one := range list {
		if one.Issuer == "" || len(one.Issuer) > oci.MaxPattern {
			return invalid(fmt.Sprintf("%s[%d].issuer", field, i), "an issuer has from 1 to %d bytes, such as https://token.actions.githubusercontent.com", oci.MaxPattern)
		}
		if oci.CheckPattern(one.Subject) != nil {
			return invalid(fmt.Sprintf("%s[%d].subject", field, i),
				"%q is not a valid pattern of subjects, such as *@example.com or https://github.com/acme/**, of at most %d bytes", one.Subject, oci.MaxPattern)
		}
	}
	return nil
}

// checkTrust checks that signatures by identities can be verified, by the trusted root that is
// given or the operator's.
func (s *Service) checkTrust(fields string, identities []meta.SignerIdentity, trustedRoot string) error {
	if len(identities) == 0 {
		if trustedRoot != "" {
			return invalid(fields+"trusted_root", "no signature is verified with it; set identities, too")
		}
		return nil
	}
	_, err := s.trust.Root(trustedRoot)
	switch {
	case errors.Is(err, policy.ErrNoTrust):
		return invalid(fields+"trusted_root", "identities need a trusted root, and the operator has set none; set it to the JSON of a trusted_root.json")
	case err != nil && trustedRoot != "":
		return invalid(fields+"trusted_root", "not the JSON of a trusted_root.json that can be used: %s", err)
	case err != nil:
		return invalid(fields+"trusted_root", "%s; set one, or ask the operator to mend it", err)
	}
	return nil
}
