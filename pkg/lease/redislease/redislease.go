// Package redislease hands leases out among processes that share a Redis.
//
// It speaks to one Redis by go-redis and not through redsync: redsync agrees
// with a majority of several for a safety that Berth's leases do not need, asks in
// two more round trips for refused callers, and does not say what the holder
// left.
package redislease

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/berth-registry/berth/pkg/boot/redisconn"
	"github.com/berth-registry/berth/pkg/lease"
)

// defaultTTL is how long the lease of a process that was killed stays.
const defaultTTL = 10 * time.Second

// Options say where leases are kept. Only Redis must be there.
type Options struct {
	Redis *redis.Client // made by redisconn.Open, which bounds its time

	// Secret, the same in all processes, signs notes. Without one, any client that may
	// write to Redis can leave a note for any work.
	Secret string

	TTL time.Duration // of a lease that is not renewed; default 10 s
}

// Leases is lease.Leases among processes. While Redis does not answer, it is
// that among the callers of this process.
type Leases struct {
	redis *redis.Client
	notes []byte // the key of their MACs
	ttl   time.Duration
	local *lease.Memory
}

var _ lease.Leases = (*Leases)(nil)

// New makes the leases of a process.
func New(o Options) *Leases {
	if o.TTL == 0 {
		o.TTL = defaultTTL
	}
	// The secret has other uses, so notes have a key of their own.
	key := hmac.New(sha256.New, []byte(o.Secret))
	_, _ = key.Write([]byte("notes of leases"))
	return &Leases{redis: o.Redis, notes: key.Sum(nil), ttl: o.TTL, local: lease.NewMemory()}
}

// Acquire implements lease.Leases, in one round trip.
func (l *Leases) Acquire(ctx context.Context, k lease.Key, note string) (lease.Lease, string, bool) {
	local, theirs, ok := l.local.Acquire(ctx, k, note)
	if !ok {
		return nil, theirs, false
	}
	h := &held{leases: l, local: local, key: redisconn.Key("lease", k.Kind, strconv.FormatInt(int64(k.Tenant), 10), k.Name)}
	h.value = l.value(h.key, note)
	asked := time.Now()
	pipe := l.redis.Pipeline()
	set := pipe.SetArgs(ctx, h.key, h.value, redis.SetArgs{Mode: "NX", TTL: l.ttl})
	get := pipe.Get(ctx, h.key)
	_, _ = pipe.Exec(ctx) // each command has its own error
	if errors.Is(set.Err(), redis.Nil) {
		local.Release()
		return nil, l.note(h.key, get.Val()), false
	}
	// Granted, or unknown. Redis may have done what it could not answer,
	// and it may come back, so the lease is renewed in either case.
	h.start(asked.Add(l.ttl))
	return h, "", true
}

// A value is what the holder alone knows, a MAC that binds the note to this
// holder and this key, and the note.
const (
	tokenSize = 16
	macSize   = sha256.Size
)

func (l *Leases) value(key, note string) string {
	if len(note) > lease.MaxNote {
		note = ""
	}
	token := make([]byte, tokenSize)
	_, _ = rand.Read(token) // never fails
	return string(token) + l.mac(key, string(token), note) + note
}

func (l *Leases) mac(key, token, note string) string {
	h := hmac.New(sha256.New, l.notes)
	_, _ = h.Write([]byte(key + token + note)) // the first two have one length
	return string(h.Sum(nil))
}

// note is the note in a value; empty when it was not left by one of us for this
// very key.
func (l *Leases) note(key, value string) string {
	if len(value) < tokenSize+macSize || len(value) > tokenSize+macSize+lease.MaxNote {
		return ""
	}
	token, mac, note := value[:tokenSize], value[tokenSize:tokenSize+macSize], value[tokenSize+macSize:]
	if !hmac.Equal([]byte(mac), []byte(l.mac(key, token, note))) {
		return ""
	}
	return note
}
