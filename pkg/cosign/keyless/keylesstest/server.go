package keylesstest

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/digitorus/timestamp"

	"github.com/berth-registry/berth/pkg/cosign/keyless"
)

// Handler serves the authorities to a cosign: /api/v1/signingCert gives a certificate to
// the identity of any token, and /timestamp answers requests of RFC 3161.
func (s Sigstore) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v1/signingCert", func(w http.ResponseWriter, r *http.Request) {
		answer, err := s.serveCertificate(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write(answer)
	})
	mux.HandleFunc("POST /timestamp", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		request, parsed := timestamp.ParseRequest(body)
		if err = errors.Join(err, parsed); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		_, _ = w.Write(s.stamp(request, time.Now()))
	})
	return mux
}

func (s Sigstore) serveCertificate(r *http.Request) ([]byte, error) {
	var request struct {
		PublicKey struct {
			Content []byte `json:"content"`
		} `json:"publicKey"`
	}
	if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
		return nil, err
	}
	block, _ := pem.Decode(request.PublicKey.Content)
	if block == nil {
		return nil, errors.New("no key")
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	parts := strings.Split(r.Header.Get("Authorization"), ".")
	if len(parts) != 3 {
		return nil, errors.New("no token")
	}
	var claims struct {
		Issuer string `json:"iss"`
		Email  string `json:"email"`
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err = errors.Join(err, json.Unmarshal(text, &claims)); err != nil {
		return nil, err
	}
	how := Signing{Identity: keyless.Identity{Issuer: claims.Issuer, Subject: claims.Email}}
	return toPEM(s.Certificate(how, key), s.root), nil
}

// Token is one that Handler takes. It is not signed, as no test needs that.
func Token(who keyless.Identity) string {
	part := func(value map[string]any) string {
		return base64.RawURLEncoding.EncodeToString(must(json.Marshal(value)))
	}
	return part(map[string]any{"alg": "RS256", "typ": "JWT"}) + "." + part(map[string]any{
		"iss": who.Issuer, "sub": who.Subject, "email": who.Subject, "email_verified": true, "aud": "sigstore",
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
	}) + "." + base64.RawURLEncoding.EncodeToString([]byte("signature"))
}
