package access

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/berth-registry/berth/pkg/tenant"
)

// internalTTL is how long a call between services may take to arrive.
const internalTTL = time.Minute

// useInternal is what the tokens of this file are for.
const useInternal = "internal"

// InternalCall is what one service tells another of a request it has admitted
// and hands on: the registry it is for, who asks, and with which rights. It is
// good for that request alone.
type InternalCall struct {
	Method, Path string // of the request; Path as it was sent, with its query
	Service      string // that is asked
	Namespace    string // the registry that the client wants the content of; empty for Site's own
	Hops         int    // how many registries asked one another before
	Site         tenant.Site
	Principal    Principal
	Claims       *Claims    `json:",omitempty"` // nil when the caller has no token
	Realm        string     // URL of the token endpoint as the client reaches it
	Client       netip.Addr // of the client, for limits and logs
	RequestID    string     // as the client is told, for logs and events
}

// Internal signs calls between services, and checks them, by a key that all of
// them know. Safe for concurrent use.
type Internal struct {
	key []byte
	now func() time.Time
}

// NewInternal makes an Internal with the key of the deployment.
func NewInternal(key string) *Internal { return &Internal{key: []byte(key), now: time.Now} }

type internalPayload struct {
	jwt.RegisteredClaims
	Use  string       `json:"use"`
	Call InternalCall `json:"call"`
}

// maxSignedPath is the longest path, with its query, that a token carries. Of a
// longer one it has the digest, so that it fits in a header: a client may ask for
// a token of many scopes.
const maxSignedPath = 8 << 10

func signedPath(path string) string {
	if len(path) <= maxSignedPath {
		return path
	}
	sum := sha256.Sum256([]byte(path))
	return "sha256:" + hex.EncodeToString(sum[:]) // no path begins so
}

// Sign makes the token of a call; it is good for a minute.
func (i *Internal) Sign(c InternalCall) (string, error) {
	now := i.now()
	c.Path = signedPath(c.Path)
	return jwt.NewWithClaims(jwt.SigningMethodHS256, internalPayload{
		RegisteredClaims: jwt.RegisteredClaims{IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(internalTTL))},
		Use:              useInternal, Call: c,
	}).SignedString(i.key)
}

// Verify returns the call that the token was signed for, if it is the one of
// this method and path, and arrived in time.
func (i *Internal) Verify(token, method, path string) (InternalCall, error) {
	var p internalPayload
	_, err := jwt.ParseWithClaims(token, &p, func(*jwt.Token) (any, error) { return i.key, nil },
		jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}), jwt.WithExpirationRequired(),
		jwt.WithLeeway(leeway), jwt.WithTimeFunc(i.now))
	switch {
	case err != nil:
		return InternalCall{}, fmt.Errorf("internal token: %w", err)
	case p.Use != useInternal:
		return InternalCall{}, errors.New("internal token: it is for another use")
	case p.Call.Method != method || p.Call.Path != signedPath(path):
		return InternalCall{}, fmt.Errorf("internal token: it is for %s %s", p.Call.Method, p.Call.Path)
	}
	p.Call.Path = path
	return p.Call, nil
}
