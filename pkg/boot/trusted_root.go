package boot

import (
	"fmt"
	"io"
	"log/slog"
	"os"
)

const settingTrustedRoot = "trusted_root"

// maxTrustedRoot bounds what is read of the file, in bytes.
const maxTrustedRoot = 1 << 20

// TrustedRootFile is the file of trusted_root, read again when it changes. It is safe for
// concurrent use.
type TrustedRootFile struct {
	watched
	log *slog.Logger

	text string
	err  error // of the last reading
}

// OpenTrustedRoot opens the file of trusted_root; nil without it.
func (c Config) OpenTrustedRoot(log *slog.Logger) (*TrustedRootFile, error) {
	if c.TrustedRoot == "" {
		return nil, nil // no root is trusted
	}
	f := &TrustedRootFile{watched: watch(c.TrustedRoot), log: log}
	f.text, f.err = readTrustedRoot(f.path)
	return f, f.err
}

// Text returns the text of the file as it is now. Other than a certificate of an authority, what
// was trusted no longer counts when the file cannot be read.
func (f *TrustedRootFile) Text() (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.changed() {
		f.text, f.err = readTrustedRoot(f.path)
		if f.err != nil {
			f.log.Error("a trusted root that cannot be read verifies no signature", "setting", settingTrustedRoot, "error", f.err)
		} else {
			f.log.Info("trusted root read again", "setting", settingTrustedRoot, "file", f.path)
		}
	}
	return f.text, f.err
}

func readTrustedRoot(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("%s: %w", settingTrustedRoot, err)
	}
	text, err := io.ReadAll(io.LimitReader(file, maxTrustedRoot))
	_ = file.Close()
	if err != nil {
		return "", fmt.Errorf("%s: %w", settingTrustedRoot, err)
	}
	return string(text), nil
}
