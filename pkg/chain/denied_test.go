package chain_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
)

// afterLogin is a denial by an upstream that had accepted the credential.
type afterLogin struct{ error }

func (afterLogin) LoginAccepted() bool { return true }
func (e afterLogin) Unwrap() error     { return e.error }

// TestT50_DenialsOfDockerHub is about the policy of a member, and what the message says of
// it.
func TestT50_DenialsOfDockerHub(t *testing.T) {
	accepted := fmt.Errorf("wrapped: %w", afterLogin{errDenied})
	for _, c := range []struct {
		url, username string
		policy        meta.Policy
		err           error
		goesOn        bool
		says          string
	}{
		{"https://registry-1.docker.io", "acme", "", accepted, true, ""},
		{"https://docker.io", "acme", "", accepted, true, ""},
		{"https://index.docker.io/", "acme", meta.Continue, accepted, true, ""},
		{"https://registry-1.docker.io", "acme", meta.Stop, accepted, false, "on_denied is STOP"},
		{"https://registry-1.docker.io", "acme", "", errDenied, false, "correct the credential"},
		{"https://registry-1.docker.io", "acme", meta.Continue, errDenied, false, "whatever on_denied says"},
		{"https://registry-1.docker.io", "", "", errDenied, true, ""},
		{"https://registry-1.docker.io", "", meta.Stop, errDenied, false, "on_denied is STOP"},
		{"https://ghcr.io", "acme", "", accepted, false, "set its on_denied to CONTINUE"},
		{"https://ghcr.io", "acme", meta.Continue, errDenied, true, ""},
		{"https://registry-1.docker.io.evil.example", "acme", "", accepted, false, "set its on_denied to CONTINUE"},
	} {
		tp := acme()
		hub := tp.Upstreams["hub"]
		hub.Settings.URL, hub.Settings.Username = c.url, c.username
		tp.Upstreams["hub"] = hub
		tp.Groups["below-dev"] = []meta.Member{{Registry: "prod"}}
		tp.Groups["outside"] = []meta.Member{{Upstream: "hub", OnDenied: c.policy}, {Upstream: "ghcr"}}
		asked, err := walked(t, chain.Walk{Name: "app"}, tp, map[string]error{"hub": c.err, "ghcr": nil})
		what := fmt.Sprintf("%s, credential %q, on_denied %q, %v", c.url, c.username, c.policy, c.err)
		if goesOn := strings.HasSuffix(strings.Join(asked, " "), "ghcr"); goesOn != c.goesOn || goesOn != (err == nil) {
			t.Errorf("%s: asked %v, %v", what, asked, err)
		}
		if c.goesOn {
			continue
		}
		if said := fault.From(err); said.Kind != fault.Denied || !strings.Contains(said.Message, c.says) || !errors.Is(err, errDenied) {
			t.Errorf("%s: %v says %q, want %q", what, said.Kind, said.Message, c.says)
		}
	}
}
