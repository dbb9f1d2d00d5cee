package testserver

import (
	"context"
	"encoding/pem"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// The client that an OpenID knows as Berth's.
const (
	OpenIDClient = "berth"
	OpenIDSecret = "secret of the client"

	openIDPassword = "password of all"
)

// OpenID is an OpenID Connect issuer for people, over TLS at 127.0.0.1. Its login page asks
// nothing: the person is the one of LogsIn. Safe for concurrent use. It goes with the test.
type OpenID struct {
	URL string
	CA  []byte // in PEM: what its certificate is trusted by

	server  *httptest.Server
	storage openIDStorage

	mu       sync.Mutex
	redirect []string
	people   map[string]OpenIDPerson // by sub
	now      string                  // the sub of LogsIn
	inToken  bool
	between  func(http.Handler) http.Handler
	provider http.Handler
}

// OpenIDPerson is what an OpenID says of a person.
type OpenIDPerson struct {
	Name   string
	Claims map[string]any
}

// StartOpenID starts one for a client with these redirect URIs.
func StartOpenID(t testing.TB, redirects ...string) *OpenID {
	t.Helper()
	o := &OpenID{redirect: redirects, people: map[string]OpenIDPerson{}}
	o.server = httptest.NewTLSServer(http.HandlerFunc(o.serve))
	t.Cleanup(o.server.Close)
	o.URL = o.server.URL
	o.CA = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: o.server.Certificate().Raw})
	o.storage = openIDStorage{o, storage.NewStorageWithClients(openIDUsers{o}, map[string]*storage.Client{
		OpenIDClient: storage.WebClient(OpenIDClient, OpenIDSecret),
		"another":    storage.WebClient("another", OpenIDSecret),
	})}
	p, err := op.NewProvider(&op.Config{CodeMethodS256: true, AuthMethodPost: true, GrantTypeRefreshToken: true, DeviceAuthorization: op.DeviceAuthorizationConfig{
		Lifetime: time.Minute, PollInterval: time.Second, UserFormPath: openIDDevicePage, UserCode: op.UserCodeBase20,
	}}, o.storage, op.StaticIssuer(o.URL), op.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	pages := http.NewServeMux()
	pages.Handle("/", p)
	pages.HandleFunc("/login/username", func(w http.ResponseWriter, r *http.Request) {
		id := r.FormValue("authRequestID")
		if err := o.storage.CheckUsernamePassword(o.person().Name, openIDPassword, id); err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		http.Redirect(w, r, op.AuthCallbackURL(p)(op.ContextWithIssuer(r.Context(), o.URL), id), http.StatusFound)
	})
	pages.HandleFunc(openIDDevicePage, o.serveDevice)
	o.provider = pages
	return o
}

func (o *OpenID) serve(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	h := o.provider
	if o.between != nil {
		h = o.between(h)
	}
	o.mu.Unlock()
	w.Header().Set("Connection", "close") // none stays when it stops
	h.ServeHTTP(w, r)
}

// Between puts a handler before the issuer's own; nil takes it away.
func (o *OpenID) Between(f func(issuer http.Handler) http.Handler) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.between = f
}

// RedirectTo puts other redirect URIs in the place of those before.
func (o *OpenID) RedirectTo(uris ...string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.redirect = uris
}

// LogsIn makes the person the one that logs in from now on.
func (o *OpenID) LogsIn(sub, name string, claims map[string]any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.people[sub], o.now = OpenIDPerson{name, claims}, sub
}

// Remove forgets a person, whose refresh tokens end.
func (o *OpenID) Remove(sub string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.people, sub)
}

// ClaimsInToken says whether ID tokens have all claims, which else are at the userinfo endpoint
// alone.
func (o *OpenID) ClaimsInToken(in bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.inToken = in
}

// Token signs claims as the issuer does. What is missing of iss, aud, iat and exp is added, and what
// is nil left out.
func (o *OpenID) Token(t testing.TB, claims map[string]any) string {
	t.Helper()
	key, err := o.storage.SigningKey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	all := map[string]any{"iss": o.URL, "aud": OpenIDClient, "iat": now.Unix(), "exp": now.Add(time.Minute).Unix()}
	maps.Copy(all, claims)
	maps.DeleteFunc(all, func(_ string, v any) bool { return v == nil })
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: key.SignatureAlgorithm(), Key: jose.JSONWebKey{Key: key.Key(), KeyID: key.ID()}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := jwt.Signed(signer).Claims(all).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// PublicKey verifies what it signs.
func (o *OpenID) PublicKey(t testing.TB) any {
	t.Helper()
	keys, err := o.storage.KeySet(t.Context())
	if err != nil || len(keys) != 1 {
		t.Fatal(len(keys), err)
	}
	return keys[0].Key()
}

func (o *OpenID) subject() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.now
}

func (o *OpenID) person() OpenIDPerson {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.people[o.now]
}

// openIDUsers implements storage.UserStore.
type openIDUsers struct{ *OpenID }

// GetUserByID implements storage.UserStore.
func (u openIDUsers) GetUserByID(sub string) *storage.User {
	u.mu.Lock()
	defer u.mu.Unlock()
	p, ok := u.people[sub]
	if !ok {
		return nil
	}
	return &storage.User{ID: sub, Username: p.Name, Password: openIDPassword, FirstName: p.Name, LastName: "of the issuer", Email: p.Name + "@example.org"}
}

// GetUserByUsername implements storage.UserStore.
func (u openIDUsers) GetUserByUsername(name string) *storage.User {
	u.mu.Lock()
	sub := u.now
	u.mu.Unlock()
	found := u.GetUserByID(sub)
	if found == nil || found.Username != name {
		return nil
	}
	return found
}

// ExampleClientID implements storage.UserStore.
func (openIDUsers) ExampleClientID() string { return "service" }

// openIDStorage is the storage of the issuer's example, with claims of the test.
type openIDStorage struct {
	o *OpenID
	*storage.Storage
}

// GetClientByClientID implements op.Storage.
func (s openIDStorage) GetClientByClientID(ctx context.Context, id string) (op.Client, error) {
	c, err := s.Storage.GetClientByClientID(ctx, id)
	if err != nil {
		return nil, err
	}
	s.o.mu.Lock()
	defer s.o.mu.Unlock()
	return openIDApplication{c, s.o.redirect, s.o.inToken}, nil
}

// SetUserinfoFromRequest implements op.CanSetUserinfoFromRequest.
func (s openIDStorage) SetUserinfoFromRequest(ctx context.Context, info *oidc.UserInfo, token op.IDTokenRequest, scopes []string) error {
	err := s.Storage.SetUserinfoFromRequest(ctx, info, token, scopes)
	if err == nil && s.o.claimsInToken() {
		s.o.addClaims(info, token.GetSubject())
	}
	return err
}

func (o *OpenID) claimsInToken() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.inToken
}

// SetUserinfoFromToken implements op.Storage.
func (s openIDStorage) SetUserinfoFromToken(ctx context.Context, info *oidc.UserInfo, id, sub, origin string) error {
	err := s.Storage.SetUserinfoFromToken(ctx, info, id, sub, origin)
	if err == nil {
		s.o.addClaims(info, sub)
	}
	return err
}

func (o *OpenID) addClaims(info *oidc.UserInfo, sub string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for name, value := range o.people[sub].Claims {
		info.AppendClaims(name, value)
	}
}

// TokenRequestByRefreshToken implements op.Storage.
func (s openIDStorage) TokenRequestByRefreshToken(ctx context.Context, refresh string) (op.RefreshTokenRequest, error) {
	found, err := s.Storage.TokenRequestByRefreshToken(ctx, refresh)
	if err == nil && (openIDUsers{s.o}).GetUserByID(found.GetSubject()) == nil {
		return nil, op.ErrInvalidRefreshToken
	}
	return found, err
}

// openIDApplication is a client.
type openIDApplication struct {
	op.Client
	redirect []string
	inToken  bool
}

// RedirectURIs implements op.Client.
func (a openIDApplication) RedirectURIs() []string { return a.redirect }

// IDTokenUserinfoClaimsAssertion implements op.Client.
func (a openIDApplication) IDTokenUserinfoClaimsAssertion() bool { return a.inToken }

// GrantTypes implements op.Client.
func (openIDApplication) GrantTypes() []oidc.GrantType {
	return []oidc.GrantType{oidc.GrantTypeCode, oidc.GrantTypeRefreshToken, oidc.GrantTypeDeviceCode}
}
