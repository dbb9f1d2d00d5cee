package assemble

import (
	"fmt"
	"log/slog"

	"github.com/berth-registry/berth/pkg/boot"
	"github.com/berth-registry/berth/services/internal/policy"
)

// openTrust opens the trusted root of the operator, if there is one. One that cannot be used
// at the start ends it.
func openTrust(c boot.Config, log *slog.Logger) (*policy.Trust, error) {
	file, err := c.OpenTrustedRoot(log)
	if err != nil {
		return nil, err
	}
	if file == nil {
		return policy.NewTrust(nil), nil
	}
	trust := policy.NewTrust(file.Text)
	if err := trust.Check(); err != nil {
		return nil, fmt.Errorf("trusted_root: %w", err)
	}
	return trust, nil
}
