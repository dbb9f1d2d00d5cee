package fsblob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/identity"
)

// The identity is a file of the root, where no object can be.
const (
	identityFile = "berth-identity"
	newIdentity  = identityFile + ".new" // what is to take its place
)

func isIdentity(p string) bool { return p == identityFile || p == newIdentity }

// ReadIdentity implements blob.Identified.
func (s *Store) ReadIdentity(context.Context) (identity.Identity, error) {
	text, err := s.readIdentity()
	if errors.Is(err, fs.ErrNotExist) {
		return identity.Identity{}, fmt.Errorf("fsblob: read the identity: %w", blob.ErrMissing)
	}
	if err != nil {
		return identity.Identity{}, down(err, "read the identity")
	}
	id, err := identity.Parse(text)
	if err != nil {
		return id, down(err, "read the identity in "+identityFile)
	}
	return id, nil
}

func (s *Store) readIdentity() ([]byte, error) {
	f, err := s.tree.root.Open(identityFile)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(f, identity.MaxBytes+1))
	return text, errors.Join(err, f.Close())
}

// WriteIdentity implements blob.Identified. The file is there whole or not at
// all.
func (s *Store) WriteIdentity(ctx context.Context, was, next identity.Identity) error {
	s.naming.Lock()
	defer s.naming.Unlock()
	got, err := s.ReadIdentity(ctx)
	switch {
	case err != nil && !errors.Is(err, blob.ErrMissing):
		return err
	case got != was:
		return blob.ErrChanged
	}
	if err := s.replaceIdentity(next.Marshal()); err != nil {
		return down(err, "write the identity")
	}
	return nil
}

func (s *Store) replaceIdentity(text []byte) error {
	f, err := s.tree.root.OpenFile(newIdentity, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, s.tree.flush(f), f.Close()); err != nil {
		return err
	}
	if err := s.tree.root.Rename(newIdentity, identityFile); err != nil {
		return err
	}
	return s.tree.flushDir(".")
}

// Expect implements blob.Identified.
func (s *Store) Expect(deployment uuid.UUID) { s.expected.Store(&deployment) }

// Ping implements blob.Pinger: the directory can be read, and is the one that is
// expected.
func (s *Store) Ping(ctx context.Context) error {
	if expected := s.expected.Load(); expected != nil {
		return s.isOf(ctx, *expected)
	}
	if _, err := s.tree.root.Lstat("."); err != nil {
		return down(err, "examine the directory")
	}
	return nil
}

func (s *Store) isOf(ctx context.Context, deployment uuid.UUID) error {
	got, err := s.ReadIdentity(ctx)
	switch {
	case errors.Is(err, blob.ErrMissing):
		return down(errIdentityGone, "examine the directory")
	case err != nil:
		return err
	case got.Deployment != deployment:
		return down(fmt.Errorf("it is that of deployment %s, not of %s", got.Deployment, deployment), "examine the directory")
	}
	return nil
}

var errIdentityGone = errors.New("its file " + identityFile + " is gone, and so may be everything: is the right volume mounted?")

// absent is the error for a missing object. It is ErrMissing only while the store
// has the expected identity, since ErrMissing is final.
func (s *Store) absent(ctx context.Context, doing string) error {
	if expected := s.expected.Load(); expected != nil {
		if err := s.isOf(ctx, *expected); err != nil {
			return err
		}
	}
	return fmt.Errorf("fsblob: %s: %w", doing, blob.ErrMissing)
}
