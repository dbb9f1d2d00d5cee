package ldaplogin

import (
	"context"
	"crypto/rand"
	"errors"

	"github.com/go-ldap/ldap/v3"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/login"
)

// loginBySearch finds a person by the name, and binds with what was found. It is the only login
// that can tell that the directory has no such name.
func (c *Client) loginBySearch(ctx context.Context, s *server, name, secret string) (login.Person, error) {
	var found login.Person
	err := c.asService(ctx, s, func(service *conn) error {
		// Two are as many as show that a name is not that of one person.
		entries, err := service.searchFew(ctx, query(c.settings.UserBase, ldap.ScopeWholeSubtree, 2,
			expandFilter(c.settings.UserFilter, "", name), c.settings.attributes()...))
		if err != nil {
			return failed(err, "the search for people")
		}
		known := len(entries) == 1 && entries[0].DN != ""
		dn := "cn=" + rand.Text() + "," + c.settings.UserBase // takes as long as a wrong password (contract row B10)
		if known {
			dn = entries[0].DN
		}
		person, err := c.bindAs(ctx, s, dn, secret)
		switch {
		case len(entries) == 0 && fault.Is(err, fault.ResourceUnknown):
			return login.ErrNoName()
		case err != nil:
			return err
		}
		defer person.close()
		if !known {
			return login.ErrUnknown()
		}
		found, err = c.read(ctx, service, entries[0], name)
		return unlessGone(err)
	})
	return found, err
}

// loginByDN binds as the person whose distinguished name the settings make of the name.
func (c *Client) loginByDN(ctx context.Context, s *server, name, secret string) (login.Person, error) {
	dn := expandDN(c.settings.UserDN, name)
	person, err := c.bindAs(ctx, s, dn, secret)
	if err != nil {
		return login.Person{}, err
	}
	defer person.close()
	var found login.Person
	read := func(reader *conn) error {
		e, err := c.entry(ctx, reader, dn)
		if err != nil {
			return err
		}
		found, err = c.read(ctx, reader, e, name)
		return unlessGone(err)
	}
	if c.settings.BindDN == "" {
		err = read(person)
	} else {
		err = c.asService(ctx, s, read)
	}
	return found, err
}

// bindAs binds on a connection of its own, which never becomes one of the service.
func (c *Client) bindAs(ctx context.Context, s *server, dn, secret string) (*conn, error) {
	person, err := c.connect(ctx, s)
	if err != nil {
		return nil, err
	}
	if err := person.bind(ctx, dn, secret); err != nil {
		person.close()
		if refuses(err) {
			return nil, login.ErrUnknown()
		}
		return nil, failed(err, "the bind of a person")
	}
	return person, nil
}

// entry reads the entry of a person who has just been bound. One that may not log in is
// login.ErrUnknown: the name is in the distinguished name, all else that UserFilter asks for is not.
func (c *Client) entry(ctx context.Context, reader *conn, dn string) (*ldap.Entry, error) {
	entries, err := reader.searchFew(ctx, query(dn, ldap.ScopeBaseObject, 1, anyName(c.settings.UserFilter), c.settings.attributes()...))
	if err != nil {
		return nil, failed(err, "the search for the entry of a person")
	}
	if len(entries) == 1 {
		return entries[0], nil
	}
	entries, err = reader.searchFew(ctx, query(dn, ldap.ScopeBaseObject, 1, "(objectClass=*)"))
	switch {
	case err != nil:
		return nil, failed(err, "the search for the entry of a person")
	case len(entries) == 0:
		return nil, unusable("a person may not read the own entry; set bind_dn")
	}
	return nil, login.ErrUnknown()
}

// read makes a person of an entry; login.ErrGone for one who is disabled.
func (c *Client) read(ctx context.Context, reader *conn, e *ldap.Entry, name string) (login.Person, error) {
	p, err := c.settings.person(e, name)
	if err != nil {
		return login.Person{}, err
	}
	disabled, err := reader.searchFew(ctx, query(e.DN, ldap.ScopeBaseObject, 1, c.settings.DisabledFilter))
	switch {
	case err != nil:
		return login.Person{}, failed(err, "the search for people who are disabled")
	case len(disabled) > 0:
		return login.Person{}, login.ErrGone
	}
	p.Groups, err = c.settings.groups(ctx, reader, e, p.Name)
	return p, err
}

// unlessGone makes a person who is disabled look like a wrong password.
func unlessGone(err error) error {
	if errors.Is(err, login.ErrGone) {
		return login.ErrUnknown()
	}
	return err
}
