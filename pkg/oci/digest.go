package oci

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"strings"

	"github.com/berth-registry/berth/pkg/fault"
)

// Algorithm is a registered digest algorithm (image-spec, descriptor.md,
// "Registered algorithms").
type Algorithm string

// The accepted algorithms. Others, such as sha1 and md5, are refused everywhere.
const (
	SHA256 Algorithm = "sha256"
	SHA512 Algorithm = "sha512"
)

// ParseAlgorithm accepts exactly "sha256" and "sha512"; anything else is
// fault.DigestInvalid.
func ParseAlgorithm(s string) (Algorithm, error) {
	switch a := Algorithm(s); a {
	case SHA256, SHA512:
		return a, nil
	default:
		return "", fault.New(fault.Invalid, fault.DigestInvalid, "digest algorithm %q is not one of sha256, sha512", clip(s))
	}
}

// Size is the length of a sum in bytes; 0 for an unknown algorithm.
func (a Algorithm) Size() int {
	switch a {
	case SHA256:
		return sha256.Size
	case SHA512:
		return sha512.Size
	default:
		return 0
	}
}

// Digest is a content address in its canonical form, "algorithm:hex" with
// lower-case digits. Make one with ParseDigest, DigestOf, DigestFromBytes or a
// Hasher, never by conversion; the empty Digest means "none".
type Digest string

// ParseDigest accepts sha256 and sha512 with exactly their number of
// lower-case hexadecimal digits. Anything else is fault.DigestInvalid: two
// spellings of one digest would be two keys.
func ParseDigest(s string) (Digest, error) {
	name, sum, ok := strings.Cut(s, ":")
	if !ok {
		return "", fault.New(fault.Invalid, fault.DigestInvalid, "digest %q is not of the form algorithm:hex", clip(s))
	}
	a, err := ParseAlgorithm(name)
	if err != nil {
		return "", err
	}
	if len(sum) != 2*a.Size() {
		return "", fault.New(fault.Invalid, fault.DigestInvalid,
			"a %s digest has %d hexadecimal digits, not %d", a, 2*a.Size(), len(sum))
	}
	for i := range len(sum) {
		if c := sum[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return "", fault.New(fault.Invalid, fault.DigestInvalid, "digest %q has other than lower-case hexadecimal digits", clip(s))
		}
	}
	return Digest(s), nil
}

// DigestOf computes the digest of content in memory. It panics on an algorithm that
// did not come from ParseAlgorithm.
func DigestOf(a Algorithm, content []byte) Digest {
	h := NewHasher(a)
	h.sum.Write(content)
	return h.Digest()
}

// The first byte of a stored digest. The values are on disk: never change one.
const (
	storedSHA256 = 1
	storedSHA512 = 2
)

// DigestFromBytes is the reverse of Bytes.
func DigestFromBytes(b []byte) (Digest, error) {
	var a Algorithm
	switch {
	case len(b) == 1+sha256.Size && b[0] == storedSHA256:
		a = SHA256
	case len(b) == 1+sha512.Size && b[0] == storedSHA512:
		a = SHA512
	default:
		return "", fault.New(fault.Invalid, fault.DigestInvalid, "%d stored bytes are not a digest", len(b))
	}
	return newDigest(a, b[1:]), nil
}

func newDigest(a Algorithm, sum []byte) Digest {
	b := make([]byte, 0, len(a)+1+2*len(sum))
	b = append(b, a...)
	b = append(b, ':')
	return Digest(hex.AppendEncode(b, sum))
}

// Algorithm is the part before the colon; empty for the empty Digest.
func (d Digest) Algorithm() Algorithm {
	a, _, _ := strings.Cut(string(d), ":")
	return Algorithm(a)
}

// Hex is the part after the colon; empty for the empty Digest.
func (d Digest) Hex() string {
	_, sum, _ := strings.Cut(string(d), ":")
	return sum
}

// Bytes is the stored form of a digest: one byte for the algorithm (1 sha256, 2
// sha512), then the raw sum. It is nil for the empty Digest, and for one that this
// package did not make.
func (d Digest) Bytes() []byte {
	id := storedID(d.Algorithm())
	if id == 0 {
		return nil
	}
	b, err := hex.AppendDecode([]byte{id}, []byte(d.Hex()))
	if err != nil {
		return nil
	}
	return b
}

func storedID(a Algorithm) byte {
	switch a {
	case SHA256:
		return storedSHA256
	case SHA512:
		return storedSHA512
	default:
		return 0
	}
}

// String is the canonical form.
func (d Digest) String() string { return string(d) }

// clip shortens hostile input for an error message.
func clip(s string) string {
	const most = 160
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}
