package testserver

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// scriptedAuth is what a Scripted knows of who may pull. Its Scripted's mu
// guards it.
type scriptedAuth struct {
	required       bool
	user, password string              // "" = anyone gets a token
	challenge      string              // in place of its own; "" = its own
	hidden         bool                // what is not authorized is a 404, but for /v2/
	forbids        bool                // a token that is not good is a 403
	refresh        string              // token that /oauth2/exchange gives for EntraToken; "" = no exchange
	issued         map[string][]string // scopes by token
}

// RequireToken makes the registry ask for tokens, which its own /token gives for
// the account, and to anyone where user is "".
func (s *Scripted) RequireToken(user, password string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.auth.required, s.auth.user, s.auth.password = true, user, password
}

// AllowAnyone makes the registry ask for no tokens.
func (s *Scripted) AllowAnyone() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.auth.required = false
}

// SetChallenge makes the registry's 401s carry this WWW-Authenticate, such as
// one that names a realm elsewhere; "" is its own again.
func (s *Scripted) SetChallenge(challenge string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.auth.challenge = challenge
}

// HideFromStrangers answers 404 instead of 401 to who has no token: only /v2/ asks for
// one.
func (s *Scripted) HideFromStrangers() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.auth.hidden = true
}

// ForbidExpired answers 403 instead of 401 to a token that is not good any more.
func (s *Scripted) ForbidExpired() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.auth.forbids = true
}

// ExpireTokens makes all tokens void that were given before.
func (s *Scripted) ExpireTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.auth.issued = nil
}

// authorize says whether the request may be answered; if not it has refused.
func (s *Scripted) authorize(w http.ResponseWriter, r *http.Request, a asked) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	token, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	scopes, valid := s.auth.issued[token]
	if !s.auth.required || bearer && valid && (a.name == "" || slices.Contains(scopes, a.scope())) {
		return true
	}
	switch {
	case s.auth.forbids && bearer:
		refuse(w, http.StatusForbidden, "DENIED")
	case s.auth.hidden && a.part != PartPing:
		refuse(w, http.StatusNotFound, unknownCode[a.part])
	default:
		w.Header().Set("WWW-Authenticate", s.challenge(a))
		refuse(w, http.StatusUnauthorized, "UNAUTHORIZED")
	}
	return false
}

func (a asked) scope() string { return "repository:" + a.name + ":pull" }

// challenge is what a 401 carries. The caller holds mu.
func (s *Scripted) challenge(a asked) string {
	if s.auth.challenge != "" {
		return s.auth.challenge
	}
	c := fmt.Sprintf("Bearer realm=%q,service=%q", s.URL()+"/token", tokenService)
	if a.name != "" {
		c += fmt.Sprintf(",scope=%q", a.scope())
	}
	return c
}

// ExchangeTokens answers /oauth2/exchange from now on as Azure's registries do: a token of
// Microsoft Entra is exchanged for this refresh token.
func (s *Scripted) ExchangeTokens(refresh string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.auth.refresh = refresh
}

// exchange answers the exchange; false if the request is for something else.
func (s *Scripted) exchange(w http.ResponseWriter, r *http.Request) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.URL.Path != "/oauth2/exchange" || s.auth.refresh == "" {
		return false
	}
	if r.PostFormValue("access_token") != EntraToken || r.PostFormValue("service") != r.Host {
		refuse(w, http.StatusUnauthorized, "UNAUTHORIZED")
		return true
	}
	_, _ = fmt.Fprintf(w, `{"refresh_token":%q}`, s.auth.refresh)
	return true
}

// refreshed says whether the request has the account's password as a refresh token.
func (s *Scripted) refreshed(r *http.Request) bool {
	return r.Method == http.MethodPost && r.PostFormValue("grant_type") == "refresh_token" && s.auth.user != "" && r.PostFormValue("refresh_token") == s.auth.password
}

// answerToken gives a token for the scopes that are asked for, in one parameter
// or several.
func (s *Scripted) answerToken(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	user, password, credentials := r.BasicAuth()
	if !s.refreshed(r) && (credentials || s.auth.user != "") && (user != s.auth.user || password != s.auth.password) {
		w.Header().Set("WWW-Authenticate", `Basic realm="tests"`)
		refuse(w, http.StatusUnauthorized, "UNAUTHORIZED")
		return
	}
	if err := r.ParseForm(); err != nil || r.Method != http.MethodGet && r.Method != http.MethodPost {
		refuse(w, http.StatusMethodNotAllowed, "UNSUPPORTED")
		return
	}
	if s.auth.issued == nil {
		s.auth.issued = map[string][]string{}
	}
	token := rand.Text()
	s.auth.issued[token] = strings.Fields(strings.Join(r.Form["scope"], " "))
	answerToken(w, token)
}
