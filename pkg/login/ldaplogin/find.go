package ldaplogin

import (
	"context"

	"github.com/go-ldap/ldap/v3"

	"github.com/berth-registry/berth/pkg/login"
)

// find reads a person by the subject.
func (c *Client) find(ctx context.Context, service *conn, subject string) (login.Person, error) {
	entries, err := c.bySubject(ctx, service, subject)
	switch {
	case err != nil:
		return login.Person{}, err
	case len(entries) == 1:
		return c.read(ctx, service, entries[0], "")
	case len(entries) > 1:
		return login.Person{}, unusable("two people have the same %s", c.settings.Subject)
	}
	return login.Person{}, c.confirmGone(ctx, service)
}

// bySubject returns the entries of a subject that people who may log in have.
func (c *Client) bySubject(ctx context.Context, service *conn, subject string) ([]*ldap.Entry, error) {
	r := query(c.settings.UserBase, ldap.ScopeWholeSubtree, 2, anyName(c.settings.UserFilter), c.settings.attributes()...)
	if c.settings.Subject == SubjectDN {
		if !isText(subject, maxDN) || !isBelow(subject, c.settings.UserBase) {
			return nil, nil
		}
		r.BaseDN, r.Scope = subject, ldap.ScopeBaseObject
	} else {
		filter, ok := c.settings.subjectFilter(subject)
		if !ok {
			return nil, nil
		}
		r.Filter = "(&" + filter + r.Filter + ")"
	}
	entries, err := service.searchFew(ctx, r)
	if c.settings.Subject == SubjectDN && ldap.IsErrorWithCode(err, ldap.LDAPResultNoSuchObject) {
		return nil, nil
	}
	if err != nil {
		return nil, failed(err, "the search for a person")
	}
	return entries, nil
}

// confirmGone returns login.ErrGone if the directory shows other people. One that shows none
// has lost them, or hides them, and says nothing about this one.
func (c *Client) confirmGone(ctx context.Context, service *conn) error {
	others, err := service.searchFew(ctx, query(c.settings.UserBase, ldap.ScopeWholeSubtree, 1, anyName(c.settings.UserFilter)))
	switch {
	case err != nil:
		return failed(err, "the search for people")
	case len(others) == 0:
		return unusable("it shows no people below %s", c.settings.UserBase)
	}
	return login.ErrGone
}
