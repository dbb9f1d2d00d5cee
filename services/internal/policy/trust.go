package policy

import (
	"crypto/sha256"
	"errors"
	"time"

	"github.com/berth-registry/berth/pkg/cosign/keyless"
	"github.com/berth-registry/berth/pkg/ttlcache"
)

// knownRoots is how many trusted roots a process remembers.
const knownRoots = 128

// Trust finds trusted roots: those of tenants, and that of the operator. It is safe for
// concurrent use.
type Trust struct {
	operator func() (string, error)
	roots    *ttlcache.Cache[[sha256.Size]byte, *keyless.Root] // by the digest of their text
}

// NewTrust makes a Trust. operator returns the text of the operator's trusted root; it is nil
// where the operator has set no file.
func NewTrust(operator func() (string, error)) *Trust {
	return &Trust{operator, ttlcache.New(ttlcache.Options[[sha256.Size]byte, *keyless.Root]{Size: knownRoots, Now: time.Now})}
}

// ErrNoTrust is the error where neither a tenant nor the operator has a trusted root.
var ErrNoTrust = errors.New("there is no trusted root, neither here nor of the operator")

// errLost is the error for a root of the operator that cannot be used. The reason is for
// operators.
var errLost = errors.New("the trusted root of the operator cannot be read")

// Root returns the root of a text, or the operator's if that is empty. The error is for
// tenants.
func (t *Trust) Root(text string) (*keyless.Root, error) {
	switch {
	case text != "":
		return t.parse(text)
	case t.operator == nil:
		return nil, ErrNoTrust
	}
	root, err := t.operators()
	if err != nil {
		return nil, errLost
	}
	return root, nil
}

// Check reads the operator's root. The error is for operators.
func (t *Trust) Check() error {
	_, err := t.operators()
	return err
}

func (t *Trust) operators() (*keyless.Root, error) {
	text, err := t.operator()
	if err != nil {
		return nil, err
	}
	return t.parse(text)
}

func (t *Trust) parse(text string) (*keyless.Root, error) {
	key := sha256.Sum256([]byte(text))
	if root, ok := t.roots.Find(key); ok {
		return root, nil
	}
	root, err := keyless.ParseRoot(text)
	if err == nil {
		t.roots.Put(key, root, Forever)
	}
	return root, err
}
