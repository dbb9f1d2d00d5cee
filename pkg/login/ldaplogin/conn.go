package ldaplogin

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
)

// security is how a connection is protected.
type security uint8

const (
	overTLS security = iota
	startsTLS
	inClear
)

// conn is a connection to a server, for one task at a time.
type conn struct {
	ldap   *ldap.Conn
	socket *meter
	reused bool
	broken bool // it must not be used again
}

// connect dials a server. Nothing but StartTLS is sent before the TLS handshake, and
// without TLS nothing is (contract row B11).
func (c *Client) connect(ctx context.Context, s *server) (*conn, error) {
	raw, err := c.dial(ctx, "tcp", s.address)
	if err != nil {
		return nil, outage{err}
	}
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() }) // ends what waits for it
	socket, err := c.secure(ctx, raw, s)
	if !stop() || err != nil {
		return nil, outage{errors.Join(err, ctx.Err(), raw.Close())}
	}
	m := &meter{Conn: socket}
	l := ldap.NewConn(m, s.security != inClear)
	l.Start()
	return &conn{ldap: l, socket: m}, nil
}

func (c *Client) secure(ctx context.Context, raw net.Conn, s *server) (net.Conn, error) {
	if s.security == inClear {
		return raw, nil
	}
	if s.security == startsTLS {
		if err := startTLS(raw); err != nil {
			return nil, fmt.Errorf("StartTLS: %w", err)
		}
	}
	t := tls.Client(raw, &tls.Config{RootCAs: c.roots, ServerName: s.host, MinVersion: tls.VersionTLS12})
	if err := t.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("TLS: %w", err)
	}
	return t, nil
}

// oidStartTLS is the extended operation of RFC 4511, section 4.14.
const oidStartTLS = "1.3.6.1.4.1.1466.20037"

// startTLS asks for TLS. It reads the answer from the socket byte by byte, so that what was
// sent in clear is never taken for what comes after the handshake; and so that what is read
// after it can be measured, which the library's own StartTLS does not allow.
func startTLS(raw net.Conn) error {
	request := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSequence, nil, "")
	request.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, 1, ""))
	extended := ber.Encode(ber.ClassApplication, ber.TypeConstructed, ldap.ApplicationExtendedRequest, nil, "")
	extended.AppendChild(ber.NewString(ber.ClassContext, ber.TypePrimitive, 0, oidStartTLS, ""))
	request.AppendChild(extended)
	if _, err := raw.Write(request.Bytes()); err != nil {
		return err
	}
	response, err := ber.ReadPacket(&meter{Conn: raw})
	if err != nil {
		return err
	}
	return guarded(func() error {
		if response.Children[1].Tag != ldap.ApplicationExtendedResponse {
			return errors.New("the server sent another answer")
		}
		return ldap.GetLDAPError(response)
	})
}

// guarded is f, whose panics become errors: the library takes for granted that an answer has
// the form that it should have.
func guarded(f func() error) error {
	var err error
	func() {
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("the directory's answer is malformed: %v", p)
			}
		}()
		err = f()
	}()
	return err
}

// do runs f, which ends with ctx, whatever the server does or leaves undone.
func (c *conn) do(ctx context.Context, f func(*ldap.Conn) error) error {
	deadline, _ := ctx.Deadline()
	if err := c.socket.begin(deadline); err != nil {
		c.broken = true
		return outage{err}
	}
	stop := context.AfterFunc(ctx, c.socket.expire)
	err := guarded(func() error { return f(c.ldap) })
	if !stop() {
		c.broken = true
	}
	if _, answered := codeOf(err); err != nil && !answered {
		c.broken = true
		return outage{errors.Join(err, ctx.Err())}
	}
	return err
}

// bind is a simple bind.
func (c *conn) bind(ctx context.Context, dn, secret string) error {
	return c.do(ctx, func(l *ldap.Conn) error { return l.Bind(dn, secret) })
}

// close ends the connection, and what may still wait for it.
func (c *conn) close() {
	c.socket.expire()
	_ = c.ldap.Close() // the answer does not matter
}

// search returns all entries. The library follows no referral, and nothing here does.
func (c *conn) search(ctx context.Context, r *ldap.SearchRequest) ([]*ldap.Entry, error) {
	const page = 500
	var found []*ldap.Entry
	err := c.do(ctx, func(l *ldap.Conn) error {
		result, err := l.SearchWithPaging(r, page)
		if result != nil {
			found = result.Entries
		}
		return err
	})
	return found, err
}

// searchFew is search for at most r.SizeLimit entries; further ones are not an error.
func (c *conn) searchFew(ctx context.Context, r *ldap.SearchRequest) ([]*ldap.Entry, error) {
	var found []*ldap.Entry
	err := c.do(ctx, func(l *ldap.Conn) error {
		result, err := l.Search(r)
		if result != nil {
			found = result.Entries
		}
		return err
	})
	if ldap.IsErrorWithCode(err, ldap.LDAPResultSizeLimitExceeded) && len(found) >= r.SizeLimit {
		return found[:r.SizeLimit], nil
	}
	return found, err
}

func query(base string, scope, most int, filter string, attributes ...string) *ldap.SearchRequest {
	if len(attributes) == 0 {
		attributes = []string{"1.1"} // none (RFC 4511, section 4.5.1.8)
	}
	return ldap.NewSearchRequest(base, scope, ldap.NeverDerefAliases, most, 0, false, filter, attributes, nil)
}
