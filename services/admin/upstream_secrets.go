package admin

import (
	"crypto/tls"
	"strings"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/meta"
)

// setPassword seals the password that m has, if it has another.
func (s *Service) setPassword(u *meta.Upstream, is *meta.UpstreamSettings, m *pb.Upstream) error {
	password := m.GetPassword()
	if password == unchangedSecret {
		password = ""
	} else {
		is.Password = nil
	}
	if err := checkCredential("", is.Username, password); err != nil {
		return err
	}
	if password != "" {
		var err error
		if is.Password, err = s.sealed("password", password, meta.PasswordOf(*u)); err != nil {
			return err
		}
	}
	if is.CredentialHelper != "" && (is.Username != "" || len(is.Password) > 0) {
		return invalid(fieldUpstream+"credential_helper", "a credential helper takes the place of username and password: leave both empty")
	}
	if len(is.Password) > 0 && is.Username == "" {
		return needsUsername("")
	}
	return nil
}

// checkCredential checks a username, and a password if there is one; field is where they are
// in the upstream.
func checkCredential(field, username, password string) error {
	switch {
	case len(username) > maxUsername || strings.ContainsFunc(username, func(r rune) bool { return r < ' ' || r == 0x7f || r == ':' }):
		return invalid(fieldUpstream+field+"username", "%q has more than %d bytes, a colon or a control character", clipped(username), maxUsername)
	case len(password) > maxPassword || strings.ContainsFunc(password, isControl):
		return invalid(fieldUpstream+field+"password", "a password has at most %d bytes, and no control characters", maxPassword)
	case password != "" && username == "":
		return needsUsername(field)
	default:
		return nil
	}
}

func needsUsername(field string) error {
	return invalid(fieldUpstream+field+"username", "it is missing; a password needs a username")
}

// isControl leaves out what is in documents that serve as passwords.
func isControl(r rune) bool { return r < ' ' && !strings.ContainsRune("\n\t\r", r) || r == 0x7f }

// setClientKey seals the key of the client certificate that m has, if it has another.
func (s *Service) setClientKey(u *meta.Upstream, is *meta.UpstreamSettings, m *pb.Upstream) error {
	if err := checkCertificates("client_certificate", is.Certificate); err != nil {
		return err
	}
	var err error
	switch key := m.GetClientKey(); {
	case key == unchangedSecret && is.Certificate == "":
	case key == unchangedSecret && !sameURL(u.Settings.URL, is.URL) && len(u.Settings.Key) > 0:
		return givenFor("client_key", *u, is)
	case key == unchangedSecret:
		is.Key = u.Settings.Key
		plain, err := s.secrets.Open(is.Key, meta.KeyOf(*u))
		if err == nil && is.Certificate != u.Settings.Certificate && !isPair(is.Certificate, plain) {
			return invalid(fieldUpstream+"client_key", "the key there is does not belong to client_certificate: give both together")
		}
	case key == "":
	case len(key) > maxPEM:
		return invalid(fieldUpstream+"client_key", "%d bytes exceed the maximum of %d", len(key), maxPEM)
	case !isPair(is.Certificate, key):
		return invalid(fieldUpstream+"client_key", "it is not the private key of client_certificate in PEM")
	default:
		is.Key, err = s.sealed("client_key", key, meta.KeyOf(*u))
	}
	if err == nil && is.Certificate != "" != (len(is.Key) > 0) {
		return invalid(fieldUpstream+"client_key", "client_certificate and client_key need each other")
	}
	return err
}

func isPair(certificate, key string) bool {
	_, err := tls.X509KeyPair([]byte(certificate), []byte(key))
	return err == nil
}

// sealed seals a secret for its place.
func (s *Service) sealed(field, secret, bound string) ([]byte, error) {
	if s.secrets.Empty() {
		return nil, invalid(fieldUpstream+field, "this deployment has no key to keep passwords with: its operator must set secret_key_file")
	}
	return s.secrets.Seal(secret, bound)
}

// givenFor refuses a secret that was given for another URL.
func givenFor(field string, before meta.Upstream, is *meta.UpstreamSettings) error {
	return invalid(fieldUpstream+field, "it was given for %s: give the one for %s together with its url", before.Settings.URL, is.URL)
}
