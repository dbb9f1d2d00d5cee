package testserver_test

import (
	"slices"
	"testing"

	"github.com/go-ldap/ldap/v3"

	"github.com/berth-registry/berth/tools/testserver"
)

func TestSlapd(t *testing.T) {
	alice := testserver.SlapdPerson("alice", "the secret of alice")
	s := testserver.StartSlapd(t, alice)
	s.Add(testserver.SlapdGroup("dev", alice.DN))
	bind := func() error {
		c, err := ldap.DialURL(s.TLSURL(), ldap.DialWithTLSConfig(s.CA.Client(t, "", "")))
		if err != nil {
			return err
		}
		defer c.Close()
		return c.Bind(alice.DN, "the secret of alice")
	}
	if err := bind(); err != nil || s.Binds() != 1 {
		t.Errorf("%v, %d binds", err, s.Binds())
	}
	s.Stop()
	if bind() == nil {
		t.Error("it was bound while the server was stopped")
	}
	s.Start()
	if groups := s.Read(alice.DN, "memberOf"); !slices.Equal(groups, []string{"cn=dev," + testserver.SlapdGroups}) || s.Binds() != 0 {
		t.Errorf("after a restart: %v, %d binds", groups, s.Binds())
	}
	s.Set(alice.DN, "userPassword", "another secret")
	if bind() == nil {
		t.Error("it was bound with the password before")
	}
	s.Remove(alice.DN)
}
