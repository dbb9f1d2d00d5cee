package assemble

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

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
	text, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return makeOperatorToken(file)
	}
	if err != nil {
		return "", "", fmt.Errorf("read the operator token: %w", err)
	}
	token := strings.TrimSpace(string(text))
	if token == "" {
		return "", "", fmt.Errorf("the operator token in %s is empty: put one there, or remove the file and a new one is made", file)
	}
	return token, file, nil
}

func makeOperatorToken(file string) (string, string, error) {
	random := make([]byte, 32)
	if _, err := rand.Read(random); err != nil {
		return "", "", err
	}
	token := "berth_operator_" + base64.RawURLEncoding.EncodeToString(random)
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", "", fmt.Errorf("write the operator token: %w", err)
	}
	_, err = f.WriteString(token + "\n")
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return "", "", fmt.Errorf("write the operator token: %w", errors.Join(err, os.Remove(file)))
	}
	return token, file, nil
}
