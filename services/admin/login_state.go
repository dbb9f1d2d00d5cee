package admin

import (
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"time"

	"github.com/berth-registry/berth/pkg/boot/web"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/login/oidclogin"
	"github.com/berth-registry/berth/pkg/tenant"
)

// loginState is what a browser keeps of a login at an issuer, sealed, in a cookie. The issuer gets
// its State alone: a response counts only in the browser that began the login, for the tenant and
// the provider that it began with, at the URL that the issuer was told.
type loginState struct {
	Tenant   string
	TenantID tenant.ID
	Provider int64
	Flow     oidclogin.Flow
	Return   string // path, to which the browser goes in the end
	Ends     time.Time
}

// loginStates is the name to which a loginState is sealed.
const loginStates = "logins of browsers"

// loginEnded is the answer to a response that is of no login of this browser.
func loginEnded(why string) error {
	return fault.New(fault.Invalid, fault.RequestInvalid, "this is not the response to a login that this browser began here within the last %s: %s; begin another one", loginLife, why)
}

// sealLogin is the cookie with the state of a login.
func (s *Service) sealLogin(r *http.Request, state loginState) (*http.Cookie, error) {
	text, err := json.Marshal(state)
	if err != nil {
		return nil, err
	}
	sealed, err := s.loginKeys.Seal(string(text), loginStates)
	return loginCookie(r, base64.RawURLEncoding.EncodeToString(sealed), int(loginLife.Seconds())), err
}

// openLogin returns the login that this browser began, where the response is to it.
func (s *Service) openLogin(r *http.Request, response string) (loginState, error) {
	var state loginState
	sent := r.CookiesNamed(loginCookie(r, "", 0).Name)
	if len(sent) != 1 {
		return state, loginEnded("it has no cookie of one")
	}
	sealed, err := base64.RawURLEncoding.DecodeString(sent[0].Value)
	if err != nil {
		return state, loginEnded("its cookie is not valid")
	}
	text, err := s.loginKeys.Open(sealed, loginStates)
	if err != nil || json.Unmarshal([]byte(text), &state) != nil {
		return state, loginEnded("its cookie is not valid")
	}
	switch {
	case subtle.ConstantTimeCompare([]byte(state.Flow.State), []byte(response)) != 1:
		return state, loginEnded("its state is that of another one")
	case time.Now().After(state.Ends):
		return state, loginEnded("it took too long")
	case r.URL.Path != callbackPath(state.Provider):
		return state, loginEnded("it began at another identity provider")
	case state.Flow.Redirect != baseURL(r)+r.URL.Path:
		return state, loginEnded("it began at another host")
	default:
		return state, nil
	}
}

// loginCookie is the cookie of a login. It comes back with the navigation from the issuer, which
// SameSite=Strict would not let it.
func loginCookie(r *http.Request, value string, maxAge int) *http.Cookie {
	secure := web.Scheme(r.Context()) == "https"
	name := "berth-login"
	if secure {
		name = "__Host-berth-login"
	}
	return &http.Cookie{Name: name, Value: value, Path: "/", Secure: secure, HttpOnly: true, SameSite: http.SameSiteLaxMode, MaxAge: maxAge}
}
