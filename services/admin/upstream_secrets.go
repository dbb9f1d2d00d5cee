package admin

import (
	"crypto/tls"
	"strings"
)

// password is the sealed password of a target.
func (s *Service) password(at targetPlace, m targetMessage) ([]byte, error) {
	username, password := m.GetUsername(), m.GetPassword()
	kept := password == unchangedSecret && len(at.was.Password) > 0
	if password == unchangedSecret {
		password = ""
	}
	switch {
	case len(username) > maxUsername || strings.ContainsFunc(username, func(r rune) bool { return r < ' ' || r == 0x7f || r == ':' }):
		return nil, at.invalid("username", "%q has more than %d bytes, a colon or a control character", clipped(username), maxUsername)
	case len(password) > maxPassword || strings.ContainsFunc(password, isControl):
		return nil, at.invalid("password", "a password has at most %d bytes, and no control characters", maxPassword)
	case (password != "" || kept) && username == "":
		return nil, at.invalid("username", "it is missing; a password needs a username")
	case kept:
		return at.was.Password, nil
	case password == "":
		return nil, nil
	default:
		return s.sealed(at, "password", password, at.names.Password)
	}
}

// isControl leaves out what is in documents that serve as passwords.
func isControl(r rune) bool { return r < ' ' && !strings.ContainsRune("\n\t\r", r) || r == 0x7f }

// clientKey is the sealed key of the client certificate of a target.
func (s *Service) clientKey(at targetPlace, m targetMessage) ([]byte, error) {
	certificate, key := m.GetClientCertificate(), m.GetClientKey()
	kept := key == unchangedSecret && certificate != "" && len(at.was.Key) > 0
	if key == unchangedSecret {
		key = ""
	}
	switch {
	case kept && !sameURL(at.was.URL, m.GetUrl()):
		return nil, at.givenFor("client_key", m.GetUrl())
	case kept:
		plain, err := s.secrets.Open(at.was.Key, at.names.Key)
		if err == nil && certificate != at.was.Certificate && !isPair(certificate, plain) {
			return nil, at.invalid("client_key", "the existing key does not belong to client_certificate: give both together")
		}
		return at.was.Key, nil
	case (certificate == "") != (key == ""):
		return nil, at.invalid("client_key", "client_certificate and client_key need each other")
	case key == "":
		return nil, nil
	case len(key) > maxPEM:
		return nil, at.invalid("client_key", "%d bytes exceed the maximum of %d", len(key), maxPEM)
	case !isPair(certificate, key):
		return nil, at.invalid("client_key", "it is not the private key of client_certificate in PEM")
	default:
		return s.sealed(at, "client_key", key, at.names.Key)
	}
}

func isPair(certificate, key string) bool {
	_, err := tls.X509KeyPair([]byte(certificate), []byte(key))
	return err == nil
}

// sealed seals a secret for its place.
func (s *Service) sealed(at targetPlace, field, secret, bound string) ([]byte, error) {
	if s.secrets.Empty() {
		return nil, at.invalid(field, "this deployment has no key to keep passwords with: its operator must set secret_key_file")
	}
	return s.secrets.Seal(secret, bound)
}
