package assemble

import (
	"path/filepath"

	"github.com/berth-registry/berth/pkg/boot"
)

// operatorTokenFile is in the data directory.
const operatorTokenFile = "operator-token"

// operatorToken returns the configured token, or the one in the data
// directory, which it makes at the first start, and then that file's path too.
func operatorToken(c boot.Config) (string, string, error) {
	if !c.OperatorToken.IsZero() {
		return c.OperatorToken.Reveal(), "", nil
	}
	file := filepath.Join(c.DataDir, operatorTokenFile)
	token, err := keptSecret(file, "the operator token", "berth_operator_")
	return token, file, err
}
