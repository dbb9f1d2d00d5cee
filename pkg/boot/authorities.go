package boot

import (
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"
)

// authorityCheck is how often a file of authorities is looked at, while it is used.
const authorityCheck = 2 * time.Second

// AuthorityFile is the file of upstream_ca, read again when it changes. It is safe for
// concurrent use. A nil *AuthorityFile has no certificates.
type AuthorityFile struct {
	path string
	log  *slog.Logger

	mu      sync.Mutex
	checked time.Time
	seen    fs.FileInfo // of the last reading; nil if the file was missing
	held    []byte      // what PEM returns
}

// UpstreamAuthorities opens the file of upstream_ca; nil without it.
func (c Config) UpstreamAuthorities(log *slog.Logger) (*AuthorityFile, error) {
	if c.UpstreamCA == "" {
		return nil, nil // which has no certificates
	}
	f := &AuthorityFile{path: c.UpstreamCA, log: log, checked: time.Now()}
	f.seen, _ = os.Stat(f.path) // before it is read, so that no change is missed
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
	if time.Since(f.checked) < authorityCheck {
		return f.held
	}
	f.checked = time.Now()
	if now, err := os.Stat(f.path); err != nil && f.seen != nil || err == nil && !isSameReading(f.seen, now) {
		f.seen = now
		f.reload()
	}
	return f.held
}

func isSameReading(a, b fs.FileInfo) bool {
	return a != nil && os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
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
