package admin

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/berth-registry/berth/pkg/boot/web"
	"github.com/berth-registry/berth/pkg/limit"
	"github.com/berth-registry/berth/pkg/password"
	"github.com/berth-registry/berth/services/token"
)

// TestU99_OwnChangesAreBounded: an account changes what is its own so often in a minute, and
// another account of the tenant, and its admin, as before.
func TestU99_OwnChangesAreBounded(t *testing.T) {
	a := newAPI(t)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	made := map[string]string{}
	for user, role := range map[string]string{"alice": "MEMBER", "bob": "MEMBER", "root": "ADMIN"} {
		a.call(200, "POST", "/v1/tenants/acme/users?user_id="+user, `{"role": "`+role+`"}`)
		made[user] = a.call(200, "POST", "/v1/tenants/acme/users/"+user+"/accessTokens", "{}")["secret"].(string)
	}
	change := func(user, path string) *http.Response {
		resp, _ := a.send(made[user], "DELETE", path, "")
		return resp
	}
	own := func(user string) string {
		return "/v1/tenants/acme/users/" + user + "/accessTokens/none?allow_missing=true"
	}
	for _, path := range []string{own("alice"), "/v1/sessions"} {
		n, resp := 0, change("alice", path)
		for resp.StatusCode == 200 && n < 10*maxOwnChanges { // some come back meanwhile
			n, resp = n+1, change("alice", path)
		}
		if resp.StatusCode != 429 || resp.Header.Get("Retry-After") == "" || path != "/v1/sessions" && n < maxOwnChanges {
			t.Errorf("%s: %s after %d", path, resp.Status, n)
		}
	}
	if resp := change("bob", own("bob")); resp.StatusCode != 200 {
		t.Errorf("another account: %s", resp.Status)
	}
	for range maxOwnChanges + 1 {
		if resp := change("root", own("root")); resp.StatusCode != 200 {
			t.Fatalf("an admin: %s", resp.Status)
		}
	}
	a.callAs(made["alice"], 200, "GET", "/v1/tenants/acme/users/alice/accessTokens", "") // reading is no change
}

// TestU125_LoginsDoNotTellWhichTenantsThereAre: tries at a tenant and at a missing one get the
// same answers, from one address and from many, and an address has as many at all tenants together.
func TestU125_LoginsDoNotTellWhichTenantsThereAre(t *testing.T) {
	loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	a := newAPI(t, func(c *Config, _ *Options) { // no try comes back during the test
		c.Logins = token.NewAuthenticator(c.Store.(testStore), password.New(password.DefaultCost), limit.NewLocal(token.MaxFailures, time.Hour))
	})
	a.withAlice()
	a.serveREST(web.Middleware{
		Listener: "admin", Log: slog.New(slog.DiscardHandler), Tracer: noop.NewTracerProvider().Tracer(""), Metrics: web.NewMetrics(prometheus.NewRegistry()), Proxies: loopback, Scheme: "https",
	}.Wrap(a.server))
	try := func(tenant, login, from string) int {
		t.Helper()
		resp, _ := a.send("", http.MethodPost, "/v1/sessions", `{"tenant": "`+tenant+`", "login": "`+login+`", "password": "wrong horse"}`,
			"X-Forwarded-For: "+from)
		return resp.StatusCode
	}
	tries := func(tenant, network string) []int {
		var got []int
		for i := range token.MaxFailures + 2 { // one account, from two addresses in turn
			got = append(got, try(tenant, "alice", fmt.Sprintf("%s.%d", network, i%2)))
		}
		return append(got, try(tenant, "alice", network+".9"), try(tenant, "bob", network+".8"))
	}
	there, missing, other := tries("acme", "192.0.2"), tries("none", "198.51.100"), tries("none2", "203.0.113")
	if !slices.Equal(there, missing) || !slices.Equal(there, other) || !slices.Contains(there, 429) || there[0] != 401 {
		t.Errorf("there %v, missing %v, another missing %v", there, missing, other)
	}
	got := map[int]int{}
	for i := range token.MaxFailures + 5 {
		got[try(fmt.Sprintf("none%d", i), "alice", "192.0.2.77")]++
	}
	got[try("acme", "bob", "192.0.2.77")]++
	if got[401] != token.MaxFailures || got[429] != 6 {
		t.Errorf("one address at many tenants: %v", got)
	}
}
