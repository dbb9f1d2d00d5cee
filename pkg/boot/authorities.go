package boot

import (
	"fmt"
	"log/slog"
)

// AuthorityFile is the file of upstream_ca, read again when it changes. It is safe for
// concurrent use. A nil *AuthorityFile has no certificates.
type AuthorityFile struct {
	watched
	log  *slog.Logger
	held []byte // what PEM returns
}

// UpstreamAuthorities opens the file of upstream_ca; nil without it.
func (c Config) UpstreamAuthorities(log *slog.Logger) (*AuthorityFile, error) {
	if c.UpstreamCA == "" {
		return nil, nil // which has no certificates
	}
	f := &AuthorityFile{watched: watch(c.UpstreamCA), log: log}
	read, err := readAuthorities(f.path)
	if err != nil {
		return nil, fmt.Errorf("upstream_ca: %w", err)
	}
	f.held = read.text
	return f, nil
}

// PEM returns the certificates. The caller must not change them. If the file can no longer
// be read, they are those that it had before.
func (f *AuthorityFile) PEM() []byte {
	if f == nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.changed() {
		f.reload()
	}
	return f.held
}

func (f *AuthorityFile) reload() {
	read, err := readAuthorities(f.path)
	if err != nil {
		f.log.Error("authorities that cannot be read stay as they were", "setting", "upstream_ca", "error", err)
		return
	}
	f.held = read.text
	f.log.Info("authorities read again", "setting", "upstream_ca", "file", f.path)
}
