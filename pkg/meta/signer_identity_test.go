package meta_test

import (
	"testing"

	"github.com/berth-registry/berth/pkg/meta"
)

// TestW171_WhomAnIdentityAccepts: the issuer exactly, the subject by its pattern.
func TestW171_WhomAnIdentityAccepts(t *testing.T) {
	const issuer, workflow = "https://ci.example", "https://ci.example/acme/app/.ci/release.yml@refs/tags/v1.2"
	for _, row := range []struct {
		subject, by, who string
		accepts          bool
	}{
		{"*@example.com", issuer, "ada@example.com", true},
		{"*@example.com", issuer, "ada@example.com.evil.test", false},
		{"ada@example.com", issuer, "ada@example.com", true},
		{"ada@example.com", issuer, "eva@example.com", false},
		{"ada@example.com", issuer + "/", "ada@example.com", false},
		{"ada@example.com", "", "ada@example.com", false},
		{"https://ci.example/acme/*/.ci/release.yml@refs/tags/*", issuer, workflow, true},
		{"https://ci.example/acme/**", issuer, workflow, true},
		{"https://ci.example/acme/*", issuer, workflow, false},
		{"https://ci.example/other/**", issuer, workflow, false},
		{"https://ci.example/acme/*/.ci/release.yml@refs/heads/*", issuer, workflow, false},
	} {
		identity := meta.SignerIdentity{Issuer: issuer, Subject: row.subject}
		if got := identity.Accepts(row.by, row.who); got != row.accepts {
			t.Errorf("%q, %s by %s: %v", row.subject, row.who, row.by, got)
		}
	}
}
