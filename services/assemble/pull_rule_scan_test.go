package assemble_test

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/cosign/keyless"
	"github.com/berth-registry/berth/pkg/cosign/keyless/keylesstest"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
)

// TestW181_CosignAttestsScans has cosign sign an image and the result of its scan, by a key and
// by an identity, under its tag and as a bundle. A rule demands both.
func TestW181_CosignAttestsScans(t *testing.T) {
	t.Parallel()
	local := keylesstest.New()
	servers := httptest.NewServer(local.Handler())
	t.Cleanup(servers.Close)
	s := newSigned(t)
	s.cosign(t, nil, "generate-key-pair")
	key, err := os.ReadFile(filepath.Join(s.dir, "cosign.pub"))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC().Format(time.RFC3339)
	vuln := fmt.Sprintf(`{"scanner": {"uri": "pkg:github/aquasecurity/trivy", "result": {"SchemaVersion": 2, "Results": [{"Vulnerabilities": [{"Severity": "LOW"}]}]}}, "metadata": {"scanStartedOn": %q, "scanFinishedOn": %q}}`, now, now)
	if err := os.WriteFile(filepath.Join(s.dir, "vuln.json"), []byte(vuln), 0o600); err != nil {
		t.Fatal(err)
	}
	ada := keyless.Identity{Issuer: "https://login.example", Subject: "ada@example.com"}
	// cosign asks for a proof of a log of certificates when it fetches one, and for none when it is
	// given one.
	public, _ := pem.Decode(key)
	of, err := x509.ParsePKIXPublicKey(public.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: local.Certificate(keylesstest.Signing{Identity: ada}, of).Raw})
	if err := os.WriteFile(filepath.Join(s.dir, "ada.pem"), certificate, 0o600); err != nil {
		t.Fatal(err)
	}
	signers := map[string]struct {
		rule map[string]any
		args []string
	}{
		"key": {map[string]any{"public_keys": []string{string(key)}}, []string{"--key", "cosign.key"}},
		"identity": {
			map[string]any{"identities": []map[string]string{{"issuer": ada.Issuer, "subject": ada.Subject}}, "trusted_root": local.Root(keylesstest.Timestamps)},
			[]string{"--key", "cosign.key", "--certificate", "ada.pem", "--timestamp-server-url", servers.URL + "/timestamp"},
		},
	}
	for who, by := range signers {
		for form, args := range map[string][]string{"tag": nil, "bundle": {"--new-bundle-format"}} {
			name := "library/" + who + "-" + form
			image := ocitest.NewImage(uint64(len(name)), 1000)
			run := func(repository string, command ...string) {
				all := append(append(append(command, "--tlog-upload=false", "--yes"), by.args...), args...)
				s.cosign(t, nil, append(all, strings.TrimPrefix(s.up.URL(), "http://")+"/"+repository+"@"+image.Index.Digest.String())...)
			}
			for _, repository := range []string{name, name + "-signed"} {
				s.up.Push(t, repository, image, "1")
				run(repository, "sign")
			}
			run(name, "attest", "--type", "vuln", "--predicate", "vuln.json")
			by.rule["mode"], by.rule["repositories"], by.rule["scan"] = "ENFORCE", []string{name, name + "-signed"}, map[string]any{"max_age": "1h", "max_severity": "MEDIUM"}
			s.admin(t, http.MethodPost, "/v1/tenants/acme/pullRules?pull_rule_id="+who+"-"+form, by.rule).want(t, http.StatusOK)
			signed, scanned := s.repository(devHost, "suite", name+"-signed"), s.repository(devHost, "suite", name)
			var refused answer
			soon(t, "the rule to count", func() bool {
				refused = signed.get(t, signed.at("manifests/1"))
				return refused.status == http.StatusForbidden
			})
			if bytes.Contains(refused.body, []byte("needs a signature")) || !bytes.Contains(refused.body, []byte("the image needs the result of a scan")) {
				t.Errorf("%s, %s: %s", who, form, refused.body)
			}
			scanned.wantImage(t, "1", image)
		}
	}
}
