package admin

import (
	"fmt"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/cosign"
	"github.com/berth-registry/berth/pkg/meta"
)

// Limits of the rules about signatures. A manifest is verified with each key.
const (
	maxSignatureRules = 20
	maxKeys           = 32 // of all rules
)

// setSignatures takes over the rules about signatures, checked.
func setSignatures(is *meta.UpstreamSettings, m *pb.Upstream) error {
	const field = fieldUpstream + "signatures"
	if n := len(m.GetSignatures()); n > maxSignatureRules {
		return invalid(field, "%d rules exceed the maximum of %d", n, maxSignatureRules)
	}
	keys := 0
	for i, one := range m.GetSignatures() {
		field := fmt.Sprintf("%s[%d]", field, i)
		rule := meta.SignatureRule{Repositories: one.GetRepositories(), Keys: one.GetPublicKeys()}
		if err := checkPatterns(field+".repositories", rule.Repositories); err != nil {
			return err
		}
		if keys += len(rule.Keys); len(rule.Keys) == 0 || keys > maxKeys {
			return invalid(field+".public_keys", "a rule needs at least one public key, and all rules have at most %d, not %d", maxKeys, keys)
		}
		for j, key := range rule.Keys {
			if err := checkPublicKey(fmt.Sprintf("%s.public_keys[%d]", field, j), key); err != nil {
				return err
			}
		}
		is.Signatures = append(is.Signatures, rule)
	}
	return nil
}

// checkPublicKey checks a key that signatures are verified with.
func checkPublicKey(field, key string) error {
	if _, err := cosign.ParseKey(key); err != nil {
		return invalid(field,
			"not a public key that can be used: %s; allowed is one PEM block PUBLIC KEY with a key of ECDSA P-256 or P-384, Ed25519, or RSA with 2048 to 8192 bits", err)
	}
	return nil
}
