package oci

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding"
	"encoding/binary"
	"hash"
	"hash/crc32"

	"github.com/berth-registry/berth/pkg/fault"
)

// A stored hash state is: stateVersion, algorithm byte, number of bytes hashed (8
// bytes, big endian), the state as the standard library writes it, and a CRC-32C of
// all that. The checksum detects storage faults, which the standard library would
// turn into a wrong digest; only this package writes states.
const (
	stateVersion = 1
	stateHeader  = 2 + 8
	stateTrailer = 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Hasher computes a digest and can be stored and resumed in between, so that
// an upload continues on any node. It is not safe for concurrent use.
type Hasher struct {
	algorithm Algorithm
	sum       hash.Hash
	size      int64
}

// NewHasher starts at 0 bytes. It panics on an algorithm that did not come
// from ParseAlgorithm.
func NewHasher(a Algorithm) *Hasher {
	switch a {
	case SHA256:
		return &Hasher{algorithm: a, sum: sha256.New()}
	case SHA512:
		return &Hasher{algorithm: a, sum: sha512.New()}
	default:
		panic("oci: no such digest algorithm: " + string(a))
	}
}

// ResumeHasher continues from a result of State; an empty state means 0 bytes. A
// state that is damaged, or of another algorithm or version, is
// fault.BlobUploadInvalid: hash the stored bytes again from the first one. Compare
// Size with the offset the state is meant for.
func ResumeHasher(a Algorithm, state []byte) (*Hasher, error) {
	if _, err := ParseAlgorithm(string(a)); err != nil {
		return nil, err
	}
	h := NewHasher(a)
	if len(state) == 0 {
		return h, nil
	}
	if len(state) < stateHeader+stateTrailer {
		return nil, fault.New(fault.Invalid, fault.BlobUploadInvalid, "the stored hash state is too short")
	}
	body, sum := state[:len(state)-stateTrailer], state[len(state)-stateTrailer:]
	if crc32.Checksum(body, castagnoli) != binary.BigEndian.Uint32(sum) {
		return nil, fault.New(fault.Invalid, fault.BlobUploadInvalid, "the stored hash state is damaged")
	}
	size := int64(binary.BigEndian.Uint64(body[2:]))
	if body[0] != stateVersion || body[1] != storedID(a) || size < 0 {
		return nil, fault.New(fault.Invalid, fault.BlobUploadInvalid, "the stored hash state is not one of %s", a)
	}
	if err := h.sum.(encoding.BinaryUnmarshaler).UnmarshalBinary(body[stateHeader:]); err != nil {
		return nil, fault.Wrap(err, fault.Invalid, fault.BlobUploadInvalid, "the stored hash state cannot be resumed")
	}
	h.size = size
	return h, nil
}

// Write adds content. It never fails.
func (h *Hasher) Write(p []byte) (int, error) {
	h.size += int64(len(p))
	return h.sum.Write(p)
}

// Size is the number of bytes hashed so far.
func (h *Hasher) Size() int64 { return h.size }

// Algorithm is the algorithm of Digest.
func (h *Hasher) Algorithm() Algorithm { return h.algorithm }

// Digest is the digest of all bytes so far. Writing may continue afterwards.
func (h *Hasher) Digest() Digest { return newDigest(h.algorithm, h.sum.Sum(nil)) }

// State is the argument for ResumeHasher. It is opaque, at most 256 bytes, and
// stays readable by later versions of this package.
func (h *Hasher) State() []byte {
	b := make([]byte, 0, 256)
	b = append(b, stateVersion, storedID(h.algorithm))
	b = binary.BigEndian.AppendUint64(b, uint64(h.size))
	b, err := h.sum.(encoding.BinaryAppender).AppendBinary(b)
	if err != nil {
		// sha256 and sha512 of the standard library have no error to return.
		panic("oci: hash state: " + err.Error())
	}
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}
