package ledger

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/tools/internal/ociclient"
)

// Register is a place of a repository that a client can write and read. It holds
// the digest of what it leads to, or nothing.
type Register struct {
	Kind            Kind
	Repo, Reference string
}

// Kind is what a register leads to. Its value is what stands between repository
// and reference when a register is printed.
type Kind string

// The kinds of registers.
const (
	TagKind      Kind = ":"
	ManifestKind Kind = "@"
	BlobKind     Kind = "/"
)

// Tag is the register of a tag.
func Tag(repo, tag string) Register { return Register{TagKind, repo, tag} }

// Manifest is the register of a manifest by its digest.
func Manifest(repo string, d oci.Digest) Register { return Register{ManifestKind, repo, d.String()} }

// Blob is the register of a blob.
func Blob(repo string, d oci.Digest) Register { return Register{BlobKind, repo, d.String()} }

func (r Register) String() string { return r.Repo + string(r.Kind) + r.Reference }

// Sorted are the registers in an order that is always the same.
func Sorted(registers iter.Seq[Register]) []Register {
	return slices.SortedFunc(registers, func(a, b Register) int { return strings.Compare(a.String(), b.String()) })
}

// Read asks the registry, and returns the digest of the bytes that came, "" if there
// are none.
func (r Register) Read(ctx context.Context, c *ociclient.Client) (string, error) {
	get := c.Manifest
	if r.Kind == BlobKind {
		get = c.Blob
	}
	got, ok, err := get(ctx, r.Repo, r.Reference)
	if err != nil || !ok {
		return "", err
	}
	return oci.DigestOf(oci.SHA256, got).String(), nil
}

// Write does what changes a register, and records its outcome: an error that is
// an answer says that it did not happen.
func (l *Ledger) Write(r Register, value string, ask func() error) error {
	w := l.Begin(r, value)
	err := ask()
	switch {
	case err == nil:
		l.Acknowledge(w)
	case !ociclient.IsLost(err) && ociclient.StatusOf(err) != 0:
		l.Refuse(w)
	}
	return err
}

// Verify reads a register, checks what is read, and returns it.
func (l *Ledger) Verify(r Register, read func(Register) (string, error)) (string, error) {
	start := time.Now()
	value, err := read(r)
	if err != nil {
		return "", fmt.Errorf("read %s: %w", r, err)
	}
	return value, l.Check(r, value, start, time.Now())
}
