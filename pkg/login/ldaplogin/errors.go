package ldaplogin

import (
	"errors"

	"github.com/go-ldap/ldap/v3"

	"github.com/berth-registry/berth/pkg/fault"
)

// outage is an error of a server that says nothing about the directory: another server may
// do better.
type outage struct{ error }

// Unwrap returns the cause.
func (o outage) Unwrap() error { return o.error }

// codeOf is the result code that a server answered with; false for what the library found
// wrong itself, whose codes are above those of the protocol.
func codeOf(err error) (uint16, bool) {
	var e *ldap.Error
	if errors.As(err, &e) && e.ResultCode < ldap.ErrorNetwork {
		return e.ResultCode, true
	}
	return 0, false
}

// refuses reports whether a server says that a name and a password do not belong to a person
// who may log in. Some say of disabled and locked people that they are unwilling.
func refuses(err error) bool {
	return ldap.IsErrorAnyOf(err, ldap.LDAPResultInvalidCredentials, ldap.LDAPResultInappropriateAuthentication,
		ldap.LDAPResultNoSuchObject, ldap.LDAPResultInvalidDNSyntax, ldap.LDAPResultUnwillingToPerform, ldap.LDAPResultConstraintViolation)
}

// failed makes an error of a server that says nothing about the person it was about: an
// outage, where another server may do better, else what an administrator has to see to.
func failed(err error, doing string) error {
	var o outage
	if errors.As(err, &o) || ldap.IsErrorAnyOf(err, ldap.LDAPResultBusy, ldap.LDAPResultUnavailable, ldap.LDAPResultOther,
		ldap.LDAPResultOperationsError, ldap.LDAPResultTimeLimitExceeded) {
		return outage{err}
	}
	return fault.Wrap(err, fault.Unavailable, fault.UnavailableReason, "the directory cannot be used: %s failed; its administrator finds the cause in the log", doing)
}

func unusable(format string, args ...any) error {
	return fault.New(fault.Unavailable, fault.UnavailableReason, "the directory cannot be used: "+format, args...)
}
