package assemble

import (
	"fmt"
	"log/slog"
	"os"

	"github.com/berth-registry/berth/pkg/boot"
	"github.com/berth-registry/berth/pkg/credential"
)

// settingHelpers is the setting that names the file of credential helpers.
const settingHelpers = "credential_helpers"

// helpers reads the credential helpers that the configuration names.
func helpers(c boot.Config, log *slog.Logger) (credential.Helpers, error) {
	if c.CredentialHelpers == "" {
		return credential.Helpers{}, nil
	}
	text, err := os.ReadFile(c.CredentialHelpers)
	if err != nil {
		return credential.Helpers{}, err
	}
	declared, err := credential.Parse(text)
	if err != nil {
		return credential.Helpers{}, fmt.Errorf("%s: %w", c.CredentialHelpers, err)
	}
	return credential.New(declared, log), nil
}
