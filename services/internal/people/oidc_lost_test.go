package people

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"
)

// reopen changes the provider, so that its client is another one.
func (w *atIssuer) reopen() {
	w.t.Helper()
	w.provider.DisplayName += "+"
	var err error
	w.provider, err = w.UpdateIdentityProvider(w.t.Context(), by(), w.provider)
	w.must(err)
}

// TestV78_ATokenThatWasNeverSentIsNotLost: what the issuer says of it later is about the person.
func TestV78_ATokenThatWasNeverSentIsNotLost(t *testing.T) {
	for name, fail := range map[string]func(w *atIssuer){
		"the client cannot be opened": func(w *atIssuer) { w.closed = errors.New("no key opens the secret") },
		"the issuer cannot be read": func(w *atIssuer) {
			w.sso.Between(func(http.Handler) http.Handler {
				return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newIssuer(t, someKey)
			w.in()
			w.key()
			w.reopen()
			fail(w)
			w.pass(5 * time.Minute)
			if p := w.max(); !p.RefreshTriedAt.IsZero() || len(p.Refresh) == 0 {
				t.Errorf("%+v", p)
			}
			w.closed = nil
			w.sso.Between(nil)
			w.sso.Remove("s-max")
			w.reopen()
			w.pass(5 * time.Minute)
			if p := w.max(); !p.Disabled {
				t.Errorf("gone: %+v", p)
			}
		})
	}
}

// TestV78_AnOutageDoesNotEndADoubt: a process used the token and died, the next one sent nothing.
func TestV78_AnOutageDoesNotEndADoubt(t *testing.T) {
	w := newIssuer(t, someKey)
	w.in()
	w.key()
	if mine, err := w.TryRefresh(t.Context(), w.max()); err != nil || !mine {
		t.Fatal(mine, err)
	}
	w.reopen()
	w.closed = errors.New("no key opens the secret")
	w.pass(5 * time.Minute)
	w.closed = nil
	w.sso.Remove("s-max")
	w.pass(5 * time.Minute)
	if p := w.max(); p.Disabled || len(p.Refresh) != 0 {
		t.Errorf("%+v", p)
	}
}

// TestV78_AStopKeepsTheTokenThatTheIssuerGave while it was asked.
func TestV78_AStopKeepsTheTokenThatTheIssuerGave(t *testing.T) {
	w := newIssuer(t, someKey)
	w.in()
	w.key()
	first := w.max().Refresh
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	w.sso.Between(func(issuer http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			issuer.ServeHTTP(rw, r)
			if r.URL.Path == "/oauth/token" {
				stop()
			}
		})
	})
	w.now = w.now.Add(5 * time.Minute)
	if _, err := w.refresher.Round(ctx); ctx.Err() == nil {
		t.Fatalf("the issuer was not asked: %v", err)
	}
	if p := w.max(); len(p.Refresh) == 0 || string(p.Refresh) == string(first) || !p.RefreshTriedAt.IsZero() {
		t.Errorf("%+v", p)
	}
	w.sso.Between(nil)
	w.pass(5 * time.Minute)
	w.wantDev("at the next start", true)
}
