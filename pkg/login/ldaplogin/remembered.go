package ldaplogin

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/login"
	"github.com/berth-registry/berth/pkg/ttlcache"
)

const (
	goodFor = time.Minute
	badFor  = 5 * time.Minute

	// What is remembered of one directory.
	maxGood       = 1_000
	maxBad        = 10_000
	maxRemembered = 64 << 10 // bytes of a person's groups; with more, the person is asked about each time
)

// digest is of a name and a secret. Without the key of the process it says nothing about
// them.
type digest [sha256.Size]byte

// remembered are the logins of the last minutes.
type remembered struct {
	secret []byte
	good   *ttlcache.Cache[digest, login.Person]
	bad    *ttlcache.Cache[digest, error] // login.ErrUnknown or login.ErrNoName
}

func newRemembered(now func() time.Time, secret []byte) *remembered {
	return &remembered{
		secret: secret,
		good:   ttlcache.New(ttlcache.Options[digest, login.Person]{Size: maxGood, Now: now}),
		bad:    ttlcache.New(ttlcache.Options[digest, error]{Size: maxBad, Now: now}),
	}
}

func (r *remembered) key(name, secret string) digest {
	h := hmac.New(sha256.New, r.secret)
	var size [8]byte
	binary.BigEndian.PutUint64(size[:], uint64(len(name))) // where the name ends is part of what is hashed
	_, _ = h.Write(size[:])                                // a hash never fails
	_, _ = h.Write([]byte(name + secret))
	return digest(h.Sum(nil))
}

// find returns the answer to a login that is remembered.
func (r *remembered) find(key digest) (login.Person, error, bool) { //nolint:revive // the error is the answer, and not a failure to find it
	if p, ok := r.good.Find(key); ok {
		return p, nil, true
	}
	if err, ok := r.bad.Find(key); ok {
		return login.Person{}, err, true
	}
	return login.Person{}, nil, false
}

// put remembers an answer. An outage is not remembered.
func (r *remembered) put(key digest, p login.Person, err error) {
	switch {
	case fault.Is(err, fault.ResourceUnknown):
		r.bad.Put(key, err, badFor)
	case err == nil && sizeOf(p) <= maxRemembered:
		r.good.Put(key, p, goodFor)
	}
}

func sizeOf(p login.Person) int {
	size := 0
	for _, g := range p.Groups {
		size += len(g)
	}
	return size
}
