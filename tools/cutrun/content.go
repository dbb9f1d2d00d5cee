package main

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"io"

	"github.com/berth-registry/berth/pkg/oci"
)

// content is a blob that is nowhere: its bytes are made where they are needed.
type content struct {
	size   int64
	digest oci.Digest
	block  cipher.Block
}

func newContent(seed, size int64) (*content, error) {
	key := make([]byte, aes.BlockSize)
	binary.BigEndian.PutUint64(key, uint64(seed))
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	c := &content{size: size, block: block}
	h := oci.NewHasher(oci.SHA256)
	if _, err := io.Copy(h, c.from(0)); err != nil {
		return nil, err
	}
	c.digest = h.Digest()
	return c, nil
}

// from reads the bytes from an offset on.
func (c *content) from(at int64) io.Reader {
	counter := make([]byte, aes.BlockSize)
	binary.BigEndian.PutUint64(counter[8:], uint64(at/aes.BlockSize))
	k := keystream{cipher.NewCTR(c.block, counter)}
	_, _ = k.Read(make([]byte, at%aes.BlockSize)) // it never fails
	return io.LimitReader(k, c.size-at)
}

type keystream struct{ cipher.Stream }

func (k keystream) Read(p []byte) (int, error) {
	clear(p)
	k.XORKeyStream(p, p)
	return len(p), nil
}
