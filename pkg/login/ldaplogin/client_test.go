package ldaplogin_test

import (
	"encoding/hex"
	"errors"
	"slices"
	"testing"

	"github.com/berth-registry/berth/pkg/login"
	"github.com/berth-registry/berth/pkg/login/ldaplogin"
	"github.com/berth-registry/berth/tools/testserver"
)

// TestV1_PeopleLogInByBindAndBySearch in both shapes, and are found again by the subject.
func TestV1_PeopleLogInByBindAndBySearch(t *testing.T) {
	s := start(t)
	uuid := s.Read(aliceDN, "entryUUID")[0]
	both, dn := byDN(s), byDN(s)
	both.BindDN, both.BindPassword = testserver.SlapdService, testserver.SlapdServiceSecret
	dn.Subject = ldaplogin.SubjectDN
	dn.BindDN, dn.BindPassword = testserver.SlapdService, testserver.SlapdServiceSecret
	alice := login.Person{Subject: uuid, Name: "alice", DisplayName: "Person alice", Email: "alice@example.org"}
	named, corp := alice, alice
	named.Subject = aliceDN
	corp.Subject, corp.Email = hex.EncodeToString([]byte(aliceGUID)), "alice@corp.test"
	for name, tt := range map[string]struct {
		settings ldaplogin.Settings
		want     login.Person
	}{"search": {bySearch(s), alice}, "bind": {byDN(s), alice}, "bind, then the service": {both, alice}, "subject is the DN": {dn, named}, "Active Directory": {ofAD(s), corp}} {
		t.Run(name, func(t *testing.T) {
			c, _ := open(t, tt.settings)
			same := func(p login.Person) {
				t.Helper()
				groupsAre(t, p)
				p.Groups = nil
				if got := []string{p.Subject, p.Name, p.DisplayName, p.Email}; !slices.Equal(got, []string{tt.want.Subject, tt.want.Name, tt.want.DisplayName, tt.want.Email}) {
					t.Errorf("%q, want %q", got, tt.want)
				}
			}
			same(found(t, c, "alice", aliceSecret))
			same(found(t, c, "ALICE", aliceSecret)) // the name is as the directory writes it
			refused(t, c, "alice", bobSecret)
			refused(t, c, "carol", aliceSecret)
			if tt.settings.BindDN == "" {
				if _, err := c.Find(t.Context(), uuid); !isOutage(err) {
					t.Errorf("found without a service: %v", err)
				}
				return
			}
			same(again(t, c, tt.want.Subject))
		})
	}
}

// TestV7_DisabledPeopleAreRefusedAndGone as those are who were removed or moved away. A
// directory that shows no people at all says so of none of them.
func TestV7_DisabledPeopleAreRefusedAndGone(t *testing.T) {
	s := start(t, testserver.SlapdPerson("carol", "the secret of carol"))
	gone := func(c *ldaplogin.Client, subject string) {
		t.Helper()
		if p, err := c.Find(t.Context(), subject); !errors.Is(err, login.ErrGone) {
			t.Errorf("%q: %+v, %v", subject, p, err)
		}
	}
	people, _ := open(t, bySearch(s))
	alice := found(t, people, "alice", aliceSecret)
	s.Set(aliceDN, "pwdAccountLockedTime", "000001010000Z")
	gone(people, alice.Subject)
	other, _ := open(t, bySearch(s)) // remembers nothing
	refused(t, other, "alice", aliceSecret)
	s.Set(aliceDN, "pwdAccountLockedTime")
	again(t, people, alice.Subject)
	s.Rename(aliceDN, "uid=alicia")
	if p := again(t, people, alice.Subject); p.Name != "alicia" || p.Subject != alice.Subject {
		t.Errorf("after the rename: %+v", p)
	}
	s.Remove("uid=alicia," + testserver.SlapdPeople)
	for _, subject := range []string{alice.Subject, "", "*", "no subject", "\x00", "00000000-0000-0000-0000-000000000000"} {
		gone(people, subject)
	}

	corp, _ := open(t, ofAD(s))
	bob := found(t, corp, "bob", bobSecret)
	s.Set("cn=bob,"+testserver.ADPeople, "userAccountControl", "514") // NORMAL_ACCOUNT and ACCOUNTDISABLE
	gone(corp, bob.Subject)
	corp, _ = open(t, ofAD(s))
	refused(t, corp, "bob", bobSecret) // slapd itself would take the password

	s.Remove("uid=bob," + testserver.SlapdPeople)
	s.Remove("uid=carol," + testserver.SlapdPeople)
	if p, err := people.Find(t.Context(), alice.Subject); !isOutage(err) {
		t.Errorf("in an empty directory: %+v, %v", p, err)
	}
}

// TestV7_AMovedSubjectDNIsGone only where the directory is there.
func TestV7_AMovedSubjectDNIsGone(t *testing.T) {
	s := start(t)
	settings := bySearch(s)
	settings.Subject = ldaplogin.SubjectDN
	c, _ := open(t, settings)
	for _, subject := range []string{"uid=none," + testserver.SlapdPeople, testserver.SlapdService, "no name", "cn=alice," + testserver.ADPeople} {
		if p, err := c.Find(t.Context(), subject); !errors.Is(err, login.ErrGone) {
			t.Errorf("%q: %+v, %v", subject, p, err)
		}
	}
	settings.UserBase = "ou=none," + testserver.SlapdBase
	c, _ = open(t, settings)
	for _, subject := range []string{aliceDN, "uid=none,ou=none," + testserver.SlapdBase} {
		if p, err := c.Find(t.Context(), subject); err == nil || errors.Is(err, login.ErrGone) && subject != aliceDN {
			t.Errorf("%q: %+v, %v", subject, p, err)
		}
	}
}
