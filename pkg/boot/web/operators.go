package web

import (
	"net/http"

	"github.com/berth-registry/berth/pkg/fault"
)

// Operators stands before a listener that is for operators and their programs:
// it refuses names that lead there by somebody else's will, and pages of other
// origins.
type Operators struct {
	Hosts  Hosts
	Refuse func(w http.ResponseWriter, r *http.Request, status int, err error)
}

// Wrap puts it before next.
func (o Operators) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		KeepFromPages(w.Header())
		switch {
		case !o.Hosts.Has(r.Host):
			o.Refuse(w, r, http.StatusMisdirectedRequest, fault.New(fault.Misdirected, fault.RequestInvalid,
				"this listener does not answer at the host of the request; the operator can name the host in admin_hosts"))
		case !Origins(nil).Trusts(r):
			o.Refuse(w, r, http.StatusForbidden, ErrForeignPage())
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// ErrForeignPage refuses what Origins does not trust.
func ErrForeignPage() error {
	return fault.New(fault.Denied, fault.DeniedReason, "the request was sent by a web page of another origin without a token")
}
