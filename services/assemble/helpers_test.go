package assemble_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/boot"
	"github.com/berth-registry/berth/services/assemble"
)

// TestT54_DeclarationsAreChecked before a start, each mistake by its helper.
func TestT54_DeclarationsAreChecked(t *testing.T) {
	c := boot.Default()
	c.CredentialHelpers = filepath.Join(t.TempDir(), "helpers.yaml")
	for text, want := range map[string]string{
		"gcp: {kind: google, tenants: [acme]}":                         "",
		"gcp: {kind: google}\naws: {kind: ecr, tenants: [a], path: /}": "gcp: tenants is empty",
	} {
		if err := os.WriteFile(c.CredentialHelpers, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := assemble.CheckFiles(t.Context(), c)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "aws: kind ecr takes no path")) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
