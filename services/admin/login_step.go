package admin

import (
	"encoding/json"
	"net/http"

	"github.com/berth-registry/berth/pkg/boot/web"
	"github.com/berth-registry/berth/pkg/fault"
)

// loginStep is a request of a login at an issuer.
type loginStep func(http.ResponseWriter, *http.Request) error

// serveLogin runs a step of a login.
func (g gate) serveLogin(w http.ResponseWriter, r *http.Request, method, route string, step loginStep) {
	setPrivateHeaders(w)
	w.Header().Set("Referrer-Policy", "no-referrer")
	web.SetRoute(r.Context(), route)
	web.SetScope(r.Context(), adminScope)
	if r.Method != method {
		w.Header().Set("Allow", method)
		err := fault.New(fault.Unsupported, fault.UnsupportedReason, "this path accepts only %s", method)
		writeStatus(w, r, http.StatusMethodNotAllowed, toStatus(r.Context(), g.log, err))
		return
	}
	err := step(w, r)
	if fault.KindOf(err) == fault.Unauthenticated {
		g.noteRefusedLogin(r)
	}
	if err != nil {
		writeStatus(w, r, 0, toStatus(r.Context(), g.log, err))
	}
}

func (g gate) noteRefusedLogin(r *http.Request) {
	web.SetLoginFailed(r.Context(), web.WrongCredential, "")
	g.loginFailed(r.Context(), restListener, web.ClientAddr(r.Context()), web.UserAgent(r.Context()))
}

// inTurn bounds how many requests of an address wait for issuers.
func (g gate) inTurn(step loginStep) loginStep {
	return func(w http.ResponseWriter, r *http.Request) error {
		s, from := g.service, web.Network(web.ClientAddr(r.Context()))
		if s.issuers == nil {
			return fault.New(fault.Unsupported, fault.UnsupportedReason, "people do not log in at identity providers here")
		}
		if len(r.URL.RawQuery) > maxQuery {
			return fault.New(fault.Invalid, fault.RequestInvalid, "a query has at most %d bytes", maxQuery)
		}
		if err := s.issuing.AcquireWithin(r.Context(), from, 1, loginWait); err != nil {
			return fault.Wrap(err, fault.Unavailable, fault.Busy, "too many logins wait for identity providers; retry later").WithRetryAfter(loginWait)
		}
		defer s.issuing.Release(from, 1)
		return step(w, r)
	}
}

// readLogin reads the body of a login; form is what it looks like.
func readLogin(w http.ResponseWriter, r *http.Request, body any, form string) error {
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxLogin))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(body); err != nil {
		return fault.New(fault.Invalid, fault.RequestInvalid, "the body is not %s", form)
	}
	return nil
}
