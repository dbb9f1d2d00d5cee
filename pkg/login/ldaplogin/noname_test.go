package ldaplogin_test

import (
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/login"
	"github.com/berth-registry/berth/pkg/login/ldaplogin"
	"github.com/berth-registry/berth/tools/testserver"
)

// TestV22_ASearchTellsThatADirectoryHasNoSuchName, also where the answer is remembered. All else is
// a wrong password: also a name that two people have, and any where people are not searched for.
func TestV22_ASearchTellsThatADirectoryHasNoSuchName(t *testing.T) {
	s := start(t)
	twice := bySearch(s)
	twice.UserFilter = "(|(uid={name})(description={name}))"
	s.Set(aliceDN, "description", "both")
	s.Set("uid=bob,"+testserver.SlapdPeople, "description", "both")
	s.Set("uid=bob,"+testserver.SlapdPeople, "pwdAccountLockedTime", "000001010000Z")
	both := byDN(s)
	both.BindDN, both.BindPassword = testserver.SlapdService, testserver.SlapdServiceSecret
	for why, tt := range map[string]struct {
		settings     ldaplogin.Settings
		name, secret string
		want         bool
	}{
		"no such name":                    {bySearch(s), "carol", aliceSecret, true},
		"no such name, Active Directory":  {ofAD(s), "carol", aliceSecret, true},
		"another password":                {bySearch(s), "alice", bobSecret, false},
		"another spelling":                {bySearch(s), "ALICE", bobSecret, false},
		"another password, disabled":      {bySearch(s), "bob", aliceSecret, false},
		"disabled":                        {bySearch(s), "bob", bobSecret, false},
		"two people":                      {twice, "both", aliceSecret, false},
		"not a name":                      {bySearch(s), "", aliceSecret, false},
		"no search":                       {byDN(s), "carol", aliceSecret, false},
		"no search, but of those who are": {both, "carol", aliceSecret, false},
	} {
		c, now := open(t, tt.settings)
		for range 3 {
			refused(t, c, tt.name, tt.secret)
			if _, err := c.Authenticate(t.Context(), tt.name, tt.secret); login.SaysNoName(err) != tt.want {
				t.Errorf("%s: %v", why, err)
			}
			now.pass(4 * time.Minute)
		}
	}
}
