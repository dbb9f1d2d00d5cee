package upstream

import (
	"bytes"
	"compress/gzip"
	"io"
	"slices"
)

var (
	gzipMagic = []byte{0x1f, 0x8b}
	zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}
)

// peeked is how many bytes of a gzip show how its content begins.
const peeked = 2 << 10

// isEncoding reports whether a gzip that begins so is the encoding of a blob and not the
// blob itself. The length would tell, but a chunked response has none. Compressed layers
// and JSON are blobs; a layer that was compressed once is an archive inside.
func isEncoding(start []byte) bool {
	z, err := gzip.NewReader(bytes.NewReader(start))
	if err != nil {
		return true // the reader of the body reports it
	}
	inner := make([]byte, len(zstdMagic))
	n, _ := io.ReadFull(z, inner) // the content may be shorter
	return slices.ContainsFunc([][]byte{gzipMagic, zstdMagic, []byte("{"), []byte("[")}, func(magic []byte) bool {
		return bytes.HasPrefix(inner[:n], magic)
	})
}
