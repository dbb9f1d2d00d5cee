package admin

import (
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/fault"
)

var testTokens = pageTokens{key: []byte("0123456789abcdef")}

func TestPageTokensAreBoundToTheirList(t *testing.T) {
	token := testTokens.seal("registries", "tenants/acme", "dev")
	if after, err := testTokens.open("registries", "tenants/acme", token); err != nil || after != "dev" {
		t.Fatalf("open = %q, %v", after, err)
	}
	other := pageTokens{key: []byte("another key of 16+")}
	for name, open := range map[string]func() (string, error){
		"another list":   func() (string, error) { return testTokens.open("domains", "tenants/acme", token) },
		"another parent": func() (string, error) { return testTokens.open("registries", "tenants/evil", token) },
		"shifted parts":  func() (string, error) { return testTokens.open("registriest", "enants/acme", token) },
		"another key":    func() (string, error) { return other.open("registries", "tenants/acme", token) },
		"cut":            func() (string, error) { return testTokens.open("registries", "tenants/acme", token[:len(token)-1]) },
		"longer":         func() (string, error) { return testTokens.open("registries", "tenants/acme", token+"AA") },
		"text":           func() (string, error) { return testTokens.open("registries", "tenants/acme", "' OR 1=1 --") },
		"endless": func() (string, error) {
			return testTokens.open("registries", "tenants/acme", strings.Repeat("A", 1<<20))
		},
	} {
		if after, err := open(); !fault.Is(err, fault.PageTokenInvalid) {
			t.Errorf("%s: open = %q, %v", name, after, err)
		}
	}
}

func FuzzPageToken(f *testing.F) {
	f.Add("")
	f.Add("AAAA")
	f.Add(testTokens.seal("registries", "tenants/evil", "dev"))
	f.Fuzz(func(t *testing.T, token string) {
		after, err := testTokens.open("registries", "tenants/acme", token)
		if err != nil {
			if !fault.Is(err, fault.PageTokenInvalid) {
				t.Errorf("open(%q): %v", token, err)
			}
			return
		}
		if token != "" && testTokens.seal("registries", "tenants/acme", after) != token {
			t.Errorf("%q was taken but is not what was given out", token)
		}
	})
}

func FuzzSealOpen(f *testing.F) {
	f.Add("registries", "tenants/acme", "dev")
	f.Add("", "", "\x00")
	f.Fuzz(func(t *testing.T, list, parent, after string) {
		token := testTokens.seal(list, parent, after)
		if after == "" || len(token) > longestPageToken {
			return // no row has an empty key, and keys are short
		}
		if got, err := testTokens.open(list, parent, token); err != nil || got != after {
			t.Errorf("open(seal(%q)) = %q, %v", after, got, err)
		}
	})
}
