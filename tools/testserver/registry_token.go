package testserver

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// The one account of a Registry with tokens, and of a Scripted that asks for it.
const (
	RegistryUser     = "puller"
	RegistryPassword = "a-password-of-tests"
)

// What a Registry and its token server call themselves and each other.
const (
	tokenService = "registry.test"
	tokenIssuer  = "issuer.test"
	tokenKey     = "key-1"
	tokenLife    = 5 * time.Minute
)

// tokenAccess is an entry of the claim access of a token.
type tokenAccess struct {
	Type    string   `json:"type"`
	Name    string   `json:"name"`
	Actions []string `json:"actions"`
}

// tokenSigner is the token server of a Registry.
type tokenSigner struct {
	private   ed25519.PrivateKey
	public    ed25519.PublicKey
	anonymous bool
}

func newTokenSigner(anonymous bool) *tokenSigner {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err) // crypto/rand does not fail
	}
	return &tokenSigner{private: private, public: public, anonymous: anonymous}
}

// keySet is the JSON web key set that the Registry trusts.
func (s *tokenSigner) keySet() []byte {
	return encode(map[string]any{"keys": []any{map[string]string{
		"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": tokenKey,
		"x": base64.RawURLEncoding.EncodeToString(s.public),
	}}})
}

func (s *tokenSigner) sign(user string, access []tokenAccess) string {
	now := time.Now()
	token := jwt.NewWithClaims(jwt.SigningMethodEdDSA, jwt.MapClaims{
		"iss": tokenIssuer, "aud": tokenService, "sub": user, "access": access,
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(tokenLife).Unix(),
	})
	token.Header["kid"] = tokenKey
	signed, err := token.SignedString(s.private)
	if err != nil {
		panic(err) // the key is right
	}
	return signed
}

// ServeHTTP gives a token for what is asked for: all of it to the account, what
// pulls to anyone else if they may.
func (s *tokenSigner) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	user, password, credentials := r.BasicAuth()
	known := user == RegistryUser && password == RegistryPassword
	switch {
	case r.Method != http.MethodGet:
		http.Error(w, "GET only", http.StatusMethodNotAllowed)
		return
	case r.FormValue("service") != tokenService:
		http.Error(w, "another service", http.StatusBadRequest)
		return
	case !known && (credentials || !s.anonymous):
		w.Header().Set("WWW-Authenticate", `Basic realm="tests"`)
		http.Error(w, `{"errors":[{"code":"UNAUTHORIZED"}]}`, http.StatusUnauthorized)
		return
	}
	access := []tokenAccess{}
	for _, scope := range r.Form["scope"] {
		access = append(access, grant(scope, known)...)
	}
	answerToken(w, s.sign(user, access))
}

// grant is what of a scope ("repository:name:pull,push") is granted.
func grant(scope string, all bool) []tokenAccess {
	kind, rest, _ := strings.Cut(scope, ":")
	at := strings.LastIndexByte(rest, ':')
	if at < 0 {
		return nil
	}
	a := tokenAccess{Type: kind, Name: rest[:at]}
	for action := range strings.SplitSeq(rest[at+1:], ",") {
		if all || action == "pull" {
			a.Actions = append(a.Actions, action)
		}
	}
	return []tokenAccess{a}
}

func answerToken(w http.ResponseWriter, token string) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{ // a client that is gone has no use for it
		"token": token, "access_token": token, "expires_in": int(tokenLife.Seconds()), "issued_at": time.Now().UTC().Format(time.RFC3339),
	})
}
