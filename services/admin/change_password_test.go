package admin

import (
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/services/internal/audit"
	"github.com/berth-registry/berth/services/token"
)

// TestU97_UsersChangeTheirOwnPassword by the one until now.
func TestU97_UsersChangeTheirOwnPassword(t *testing.T) {
	a := newRightsAPI(t)
	const first, second = "correct horse battery", "staple the horse"
	a.call(200, "PATCH", ofUsers+"/alice", `{"password": "`+first+`"}`)
	user := a.keyOf("acme", access.UserKind, "alice", "laptop", time.Time{})
	change := func(secret string, want int, current, next string) string {
		t.Helper()
		m := a.callAs(secret, want, "POST", ofUsers+"/alice:changePassword", fmt.Sprintf(`{"current_password": %q, "new_password": %q}`, current, next))
		message, _ := m["message"].(string)
		return message
	}
	before := a.stored(t, "alice")
	wrong := change(user, 400, second, first+"!")
	for what, got := range map[string]string{"no password": change(user, 400, "", second), "the access token": change(user, 400, user, second)} {
		if got != wrong || !strings.HasPrefix(got, "current_password: ") {
			t.Errorf("%s: %s, a wrong one: %s", what, got, wrong)
		}
	}
	for _, short := range []string{"short", "berth_" + second} {
		if got := change(user, 400, first, short); !strings.HasPrefix(got, "new_password: ") {
			t.Errorf("%q: %s", short, got)
		}
	}
	change(operatorToken, 403, first, second)
	change(a.keyOf("acme", access.UserKind, "bob", "laptop", time.Time{}), 403, first, second)
	change(a.account("acme", "admin", "ADMIN"), 403, first, second)
	if got := a.stored(t, "alice"); got != before {
		t.Errorf("changed is %+v", got)
	}
	change(user, 200, first, second)
	if got := a.stored(t, "alice"); got.Password == before.Password || got.Epoch != before.Epoch+1 {
		t.Errorf("not changed: %+v", got)
	}
	change(user, 400, first, second) // the access token stays, the password does not
	_, events := a.send(operatorToken, "GET", "/v1/tenants/acme/events?filter="+url.QueryEscape(`actor="users/alice"`), "")
	if text := string(events); !strings.Contains(text, `"user.update"`) || slices.ContainsFunc([]string{first, second, "argon2id"}, func(s string) bool { return strings.Contains(text, s) }) {
		t.Errorf("%s", text)
	}
	a.call(200, "PATCH", "/v1/tenants/acme", `{"disable_password_login": true}`)
	change(user, 200, second, first) // browsers log in by it
}

// TestU97_WrongPasswordsAreLimited, so that a stolen access token does not guess the password, and
// are failed logins in the audit log.
func TestU97_WrongPasswordsAreLimited(t *testing.T) {
	var refusals *audit.Refusals
	a := newRightsAPI(t, func(c *Config, _ *Options) {
		refusals = audit.New(c.Store, slog.New(slog.DiscardHandler))
		c.Logins = c.Logins.(*token.Authenticator).WithRefusals(refusals)
	})
	a.call(200, "PATCH", ofUsers+"/alice", `{"password": "correct horse battery"}`)
	user := a.keyOf("acme", access.UserKind, "alice", "laptop", time.Time{})
	conn, err := grpc.NewClient(a.addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+user)
	_, err = pb.NewAdminServiceClient(conn).ChangePassword(ctx, &pb.ChangePasswordRequest{
		Name: "tenants/acme/users/alice", CurrentPassword: "a wrong password", NewPassword: "another password", ValidateOnly: true,
	})
	if status.Code(err) != codes.InvalidArgument {
		t.Errorf("only validated: %v", err)
	}
	refusals.Flush(t.Context())
	_, events := a.send(operatorToken, "GET", "/v1/tenants/acme/events?filter="+url.QueryEscape(`verb="login.fail" AND address="127.0.0.1"`), "")
	if !strings.Contains(string(events), `"alice"`) {
		t.Errorf("a wrong password is not in the log: %s", events)
	}
	last := 0
	for i := 0; i < 20 && last != 429; i++ {
		resp, _ := a.send(user, "POST", ofUsers+"/alice:changePassword", `{"current_password": "a wrong password", "new_password": "another password"}`)
		last = resp.StatusCode
	}
	if last != 429 {
		t.Errorf("20 wrong passwords: %d", last)
	}
	if resp, text := a.send(user, "POST", ofUsers+"/alice:changePassword", `{"current_password": "correct horse battery", "new_password": "another password"}`); resp.StatusCode != 429 {
		t.Errorf("the right one after that: %d %s", resp.StatusCode, text)
	}
}
