package password

import (
	"encoding/base64"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
)

// Cost is what one hash takes.
type Cost struct {
	Memory uint32 // KiB
	Passes uint32
	Lanes  uint8
}

// DefaultCost is the second choice of RFC 9106, section 4, with half of its memory and one
// lane, so that a hash takes one processor and a Gate bounds both.
var DefaultCost = Cost{Memory: 32 << 10, Passes: 3, Lanes: 1}

// maxCost is the most that a stored hash may ask for.
var maxCost = Cost{Memory: 64 << 10, Passes: 10, Lanes: 4}

// Sizes of what a hash is made of.
const (
	saltBytes = 16
	keyBytes  = 32
	maxPHC    = 256 // bytes of a hash as text
)

// phc is a hash in the PHC string format: $argon2id$v=19$m=32768,t=3,p=1$salt$key.
type phc struct {
	cost      Cost
	salt, key []byte
}

var encoding = base64.RawStdEncoding.Strict()

func (p phc) String() string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, p.cost.Memory, p.cost.Passes, p.cost.Lanes,
		encoding.EncodeToString(p.salt), encoding.EncodeToString(p.key))
}

// parsePHC reads what String wrote; false for anything else, and for a cost above maxCost.
func parsePHC(text string) (phc, bool) {
	parts := strings.Split(text, "$")
	if len(text) > maxPHC || len(parts) != 6 {
		return phc{}, false
	}
	var p phc
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &p.cost.Memory, &p.cost.Passes, &p.cost.Lanes); err != nil {
		return phc{}, false
	}
	var saltErr, keyErr error
	p.salt, saltErr = encoding.DecodeString(parts[4])
	p.key, keyErr = encoding.DecodeString(parts[5])
	if saltErr != nil || keyErr != nil || len(p.salt) != saltBytes || len(p.key) != keyBytes || !p.cost.possible() || p.String() != text {
		return phc{}, false
	}
	return p, true
}

func (c Cost) possible() bool {
	return c.Passes > 0 && c.Lanes > 0 && c.Memory >= 8*uint32(c.Lanes) &&
		c.Memory <= maxCost.Memory && c.Passes <= maxCost.Passes && c.Lanes <= maxCost.Lanes
}

func (c Cost) key(password string, salt []byte) []byte {
	return argon2.IDKey([]byte(password), salt, c.Passes, c.Memory, c.Lanes, keyBytes)
}
