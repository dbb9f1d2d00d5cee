package s3blob

import (
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"strconv"
	"strings"

	"github.com/berth-registry/berth/pkg/blob"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A checksum is a CRC32C as S3 writes it: base64 of its big-endian bytes. That of
// an object of parts, the composite one, is the CRC32C of the parts' checksums,
// "-", and how many there are.
func checksum(crc uint32) string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, crc))
}

// composite puts the checksums of parts together; "" when one is none.
func composite(parts []string) string {
	var all []byte
	for _, p := range parts {
		b, err := base64.StdEncoding.DecodeString(p)
		if err != nil || len(b) != crc32.Size {
			return ""
		}
		all = append(all, b...)
	}
	return checksum(crc32.Checksum(all, castagnoli)) + "-" + strconv.Itoa(len(parts))
}

// wordOf encodes a part's ETag and checksum, which ending the upload
// needs.
func wordOf(etag, sum string) string { return sum + " " + etag }

// ofWord returns the ETag and the checksum of a part.
func ofWord(p blob.Part) (string, string) {
	sum, etag, _ := strings.Cut(p.ETag, " ")
	return etag, sum
}

// verifier checks content that is read from its first to its last byte against
// the checksum that the store has of it.
type verifier struct {
	want  string
	part  int64 // bytes of a part; 0 when the object has none
	crc   uint32
	in    int64 // bytes of the current part
	parts []string
}

// verifierOf is nil when content of this size with this checksum cannot be
// verified: the store has none, or the object has parts of another size.
func verifierOf(sum string, size, partBytes int64) *verifier {
	_, count, isComposite := strings.Cut(sum, "-")
	switch {
	case sum == "":
		return nil
	case !isComposite:
		return &verifier{want: sum}
	}
	n, err := strconv.ParseInt(count, 10, 32)
	if err != nil || n < 1 || size <= (n-1)*partBytes || size > n*partBytes {
		return nil
	}
	return &verifier{want: sum, part: partBytes}
}

func (v *verifier) write(p []byte) {
	for len(p) > 0 {
		n := len(p)
		if v.part > 0 {
			n = int(min(int64(n), v.part-v.in))
		}
		v.crc = crc32.Update(v.crc, castagnoli, p[:n])
		v.in += int64(n)
		if v.in == v.part {
			v.endPart()
		}
		p = p[n:]
	}
}

func (v *verifier) endPart() {
	v.parts = append(v.parts, checksum(v.crc))
	v.crc, v.in = 0, 0
}

// ok says whether the bytes written are the object; nothing can be written after.
func (v *verifier) ok() bool {
	if v.part == 0 {
		return checksum(v.crc) == v.want
	}
	if v.in > 0 {
		v.endPart()
	}
	return composite(v.parts) == v.want
}
