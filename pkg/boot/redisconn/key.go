package redisconn

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
)

// Key is a key in Redis: use is a constant of the caller, such as "lease", and
// parts identify the value. Different parts give different keys, even with the same
// concatenation (contract row B13), and all keys have the same length.
func Key(use string, parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		_, _ = h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(p))))
		_, _ = h.Write([]byte(p))
	}
	return "berth:" + use + ":" + base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}
