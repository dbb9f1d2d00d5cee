package access

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/berth-registry/berth/pkg/tenant"
)

// internalTTL is how long a call between services may take to arrive.
const internalTTL = time.Minute

// useInternal is what the tokens of this file are for.
const useInternal = "internal"

// InternalCall describes a request that one service has admitted and forwards
// to another: the registry it is for, the caller, and the rights. It is
// valid for that request alone.
type InternalCall struct {
	InternalRequest
	Body string `json:",omitempty"` // SHA-256 of the body in hexadecimal; empty where it is not covered

	Service   string // that serves it
	Namespace string // the registry that the client wants the content of; empty for Site's own
	Hops      int    // how many registries forwarded it before
	Site      tenant.Site
	Principal Principal
	Claims    *Claims    `json:",omitempty"` // nil when the caller has no token
	Realm     string     // URL of the token endpoint as the client reaches it
	Client    netip.Addr // of the client, for limits and logs
	RequestID string     // as sent to the client, for logs and events
}

// InternalRequest is what a call says of its request, and what the request that
// arrives must be.
type InternalRequest struct {
	Method, Path string // Path as it was sent, with its query
	Host         string `json:",omitempty"`
	Headers      string `json:",omitempty"` // digest of those that change its effect
	Length       int64  `json:",omitempty"` // of the body; -1 where it is not announced
}

// Internal signs calls between services, and checks them, by a key that all of
// them know. A process has one, which remembers the calls that it took. Safe for
// concurrent use.
type Internal struct {
	key  []byte
	now  func() time.Time
	used *nonces
}

// NewInternal makes an Internal with the key of the deployment.
func NewInternal(key string) *Internal {
	return &Internal{key: []byte(key), now: time.Now, used: newNonces(maxNonces)}
}

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

// Sign makes the token of a call; it is valid for a minute, and once. A request that
// is sent again is signed again.
func (i *Internal) Sign(c InternalCall) (string, error) {
	now := i.now()
	c.Path = signedPath(c.Path)
	return jwt.NewWithClaims(jwt.SigningMethodHS256, internalPayload{
		RegisteredClaims: jwt.RegisteredClaims{ID: rand.Text(), IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(internalTTL))},
		Use:              useInternal, Call: c,
	}).SignedString(i.key)
}

// Reasons for refusing a call.
var (
	ErrInternalKey     = errors.New("internal token: internal_key must be the same in all services")
	ErrInternalExpired = errors.New("internal token: it took too long to arrive, or clocks are more than 30 s apart")
	ErrInternalChanged = errors.New("internal token: it is for another request")
	ErrInternalUsed    = errors.New("internal token: the call was already accepted")
)

// Verify returns the call that the token was signed for, if it is that of this
// request, arrived in time, and did not arrive before.
//
// Tokens of the version before say only method and path, and have no nonce. They
// are taken as well, once. To make one takes the key.
func (i *Internal) Verify(token string, seen InternalRequest) (InternalCall, error) {
	var p internalPayload
	_, err := jwt.ParseWithClaims(token, &p, func(*jwt.Token) (any, error) { return i.key, nil },
		jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}), jwt.WithExpirationRequired(),
		jwt.WithIssuedAt(), jwt.WithLeeway(leeway), jwt.WithTimeFunc(i.now))
	path := seen.Path
	seen.Path = signedPath(path)
	if p.ID == "" {
		seen = InternalRequest{Method: seen.Method, Path: seen.Path}
	}
	switch {
	case errors.Is(err, jwt.ErrTokenSignatureInvalid):
		return InternalCall{}, ErrInternalKey
	case errors.Is(err, jwt.ErrTokenExpired), errors.Is(err, jwt.ErrTokenUsedBeforeIssued):
		return InternalCall{}, ErrInternalExpired
	case err != nil:
		return InternalCall{}, fmt.Errorf("internal token: %w", err)
	case p.Use != useInternal:
		return InternalCall{}, errors.New("internal token: it is for another use")
	case p.IssuedAt == nil || p.ExpiresAt.Sub(p.IssuedAt.Time) > internalTTL:
		return InternalCall{}, errors.New("internal token: it is valid for too long")
	case p.Call.InternalRequest != seen:
		return InternalCall{}, fmt.Errorf("%w, %s %s", ErrInternalChanged, p.Call.Method, p.Call.Path)
	}
	// The signature itself can be written in several ways.
	said := token[:strings.LastIndexByte(token, '.')]
	if err := i.used.take(said, p.IssuedAt.Time, i.now()); err != nil {
		return InternalCall{}, err
	}
	p.Call.Path = path
	return p.Call, nil
}
