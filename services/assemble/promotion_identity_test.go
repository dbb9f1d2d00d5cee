package assemble_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/berth-registry/berth/pkg/boot"
	"github.com/berth-registry/berth/pkg/cosign/cosigntest"
	"github.com/berth-registry/berth/pkg/cosign/keyless"
	"github.com/berth-registry/berth/pkg/cosign/keyless/keylesstest"
)

// TestW170_CosignSignsWithoutAKey has cosign sign an image in each form that it stores, by a
// certificate that a small Fulcio gives to an identity. Gates demand the identity, by a trusted
// root of their own and by the operator's.
func TestW170_CosignSignsWithoutAKey(t *testing.T) {
	t.Parallel()
	local := keylesstest.New()
	servers := httptest.NewServer(local.Handler())
	t.Cleanup(servers.Close)
	operators := filepath.Join(t.TempDir(), "trusted_root.json")
	if err := os.WriteFile(operators, []byte(local.Root(keylesstest.Timestamps)), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newSigned(t, func(c *boot.Config) { c.TrustedRoot = operators })
	ada := keyless.Identity{Issuer: "https://login.example", Subject: "ada@example.com"}
	gate := func(id, root, subject string, keys ...string) {
		t.Helper()
		s.admin(t, http.MethodPost, "/v1/tenants/acme/promotionGates?promotion_gate_id="+id, map[string]any{
			"registry": "prod", "repositories": []string{"library/**"}, "trusted_root": root, "public_keys": keys,
			"identities": []map[string]string{{"issuer": ada.Issuer, "subject": subject}},
		}).want(t, http.StatusOK)
	}
	gate("operators", "", "*@example.com")
	gate("own", local.Root(keylesstest.Timestamps, keylesstest.Logs), ada.Subject, cosigntest.New(cosigntest.P256).PEM()) // either will do
	args := []string{
		"--fulcio-url", servers.URL, "--identity-token", keylesstest.Token(ada), "--timestamp-server-url", servers.URL + "/timestamp", "--insecure-skip-verify",
	}
	for form := range cosignForms {
		s.promote(t, form, "gate operators: the image needs a signature by one of its identities: it has none", args...)
	}

	// What ada has signed, no one else has.
	gate("others", "", "eve@example.com")
	promote := func() answer {
		t.Helper()
		return s.admin(t, http.MethodPost, "/v1/tenants/acme/registries/prod/repositories/library/tag:promote", map[string]any{"tag": "1", "to_tag": "2"})
	}
	if refused := promote().want(t, http.StatusBadRequest); !bytes.Contains(refused.body, []byte("it is by another identity, ada@example.com of https://login.example")) {
		t.Errorf("%s", refused.body)
	}
}
