package redisconn

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
)

// Key names something in Redis: use is a constant of the caller, such as
// "lease", and parts are what tells one from another. Other parts give another
// key, however they are cut (contract row B13), and all keys have one length.
func Key(use string, parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		_, _ = h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(p))))
		_, _ = h.Write([]byte(p))
	}
	return "berth:" + use + ":" + base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}
