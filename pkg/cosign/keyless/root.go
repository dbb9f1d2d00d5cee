// Package keyless verifies signatures of manifests by identities: those of cosign whose
// key has a short-lived certificate of a Fulcio that says who signed, in both forms in which
// cosign stores them. What is trusted is a trusted root that the caller gives as text. The
// package reads no registry, no file and no clock, and asks no server: it is given a root and
// bytes, and calls only what needs no more.
package keyless

import (
	"errors"
	"fmt"

	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"
)

// MaxRoot bounds a trusted root, in bytes. That of the public Sigstore has 7 KiB.
const MaxRoot = 64 << 10

// maxAuthorities bounds what a trusted root lists of each kind: each may be tried with a
// signature.
const maxAuthorities = 16

// Root is what certificates, log entries and timestamps are verified with. It is safe for
// concurrent use.
type Root struct {
	logged *verify.Verifier // takes the time from entries of the logs; nil without logs
	timed  *verify.Verifier // takes it from timestamps; nil without authorities of these
}

// ParseRoot reads a trusted root: the JSON of a trusted_root.json, as Sigstore's TUF
// repositories and `cosign trusted-root create` give it.
func ParseRoot(text string) (*Root, error) {
	if len(text) > MaxRoot {
		return nil, fmt.Errorf("it has more than %d bytes", MaxRoot)
	}
	parsed, err := guarded(func() (*root.TrustedRoot, error) { return root.NewTrustedRootFromJSON([]byte(text)) })
	if err != nil {
		return nil, fmt.Errorf("it cannot be read: %w", err)
	}
	cas, logs, stamps := parsed.FulcioCertificateAuthorities(), parsed.RekorLogs(), parsed.TimestampingAuthorities()
	switch {
	case len(cas) == 0:
		return nil, errors.New("it has no certificateAuthorities")
	case len(logs)+len(stamps) == 0:
		return nil, errors.New("it has neither tlogs nor timestampAuthorities, so that no time of a signature can be proved")
	case max(len(cas), len(logs), len(stamps), len(parsed.CTLogs())) > maxAuthorities:
		return nil, fmt.Errorf("it has more than %d authorities or logs of one kind", maxAuthorities)
	}
	r := &Root{}
	options := []verify.VerifierOption{verify.WithObserverTimestamps(1), verify.WithoutStatementPredicate()}
	if len(parsed.CTLogs()) > 0 {
		options = append(options, verify.WithSignedCertificateTimestamps(1))
	}
	if len(stamps) > 0 {
		if r.timed, err = verify.NewVerifier(parsed, options...); err != nil {
			return nil, err
		}
	}
	if len(logs) > 0 {
		r.logged, err = verify.NewVerifier(parsed, append(options, verify.WithTransparencyLog(1))...)
	}
	return r, err
}
