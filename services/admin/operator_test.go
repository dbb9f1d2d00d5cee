package admin

import (
	"encoding/json"
	"log/slog"
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
	"github.com/berth-registry/berth/services/internal/keyuse"
)

// TestU100_OperatorsActByTheirNames and leave none of their traces to another.
func TestU100_OperatorsActByTheirNames(t *testing.T) {
	a := newAPI(t)
	made := a.call(200, "POST", "/v1/operators?operator_id=alice", `{"display_name": "Alice"}`)
	if made["name"] != "operators/alice" || made["display_name"] != "Alice" || made["disabled"] != false || made["etag"] == "" {
		t.Errorf("%v", made)
	}
	alice := a.call(200, "POST", "/v1/operators/alice/tokens", `{"description": "hers"}`)["secret"].(string)
	a.callAs(alice, 200, "POST", "/v1/tenants?tenant_id=acme", "")
	a.callAs(alice, 200, "POST", "/v1/tenants/acme/registries?registry_id=dev", "")
	conn, err := grpc.NewClient(a.addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+alice)
	client := pb.NewAdminServiceClient(conn)
	if _, err := client.SuspendTenant(ctx, &pb.SuspendTenantRequest{Name: "tenants/acme"}); err != nil {
		t.Error(err)
	}
	a.call(200, "POST", "/v1/tenants/acme:resume", "")
	type event struct{ Actor, Verb, OnBehalf string }
	log := func(path string) []event {
		_, text := a.send(alice, "GET", path, "")
		var log struct {
			Events []struct {
				Actor, Verb string
				OnBehalf    string `json:"on_behalf"`
			}
		}
		if err := json.Unmarshal(text, &log); err != nil {
			t.Fatal(err)
		}
		var got []event
		for _, e := range log.Events {
			got = append(got, event(e))
		}
		return got
	}
	want := []event{
		{"operator", "tenant.update", ""},
		{"operators/alice", "tenant.update", ""},
		{"operators/alice", "tenant.create", ""},
		{"operator", "operatorToken.create", ""},
		{"operator", "operator.create", ""},
	}
	if got := log("/v1/events"); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got := log("/v1/tenants/acme/events?filter=verb%3D%22registry.create%22"); !slices.Equal(got, []event{{"operators/alice", "registry.create", "tenants/acme"}}) {
		t.Errorf("%v", got)
	}
	if _, err := client.UpdateOperator(ctx, &pb.UpdateOperatorRequest{Operator: &pb.Operator{Name: "operators/alice", Disabled: true}}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("disables itself: %v", err)
	}
}

// TestU101_TokensOfOperatorsEnd with their time, and at once when they, or their operators,
// are taken away.
func TestU101_TokensOfOperatorsEnd(t *testing.T) {
	var uses *keyuse.Uses
	a := newAPI(t, func(c *Config, _ *Options) {
		uses = keyuse.New(c.Store, slog.New(slog.DiscardHandler))
		c.Uses = uses
	})
	a.call(200, "POST", "/v1/operators?operator_id=alice", "")
	before := time.Now()
	made := a.call(200, "POST", "/v1/operators/alice/tokens", `{"description": "laptop"}`)
	alice := made["secret"].(string)
	ends, err := time.Parse(time.RFC3339, made["expire_time"].(string))
	if err != nil || !strings.HasPrefix(alice, operatorPrefix) || ends.Before(before.Add(defaultTokenTTL-time.Minute)) || ends.After(time.Now().Add(defaultTokenTTL)) {
		t.Errorf("%v, %v", made, err)
	}
	for _, ttl := range []string{"0s", "-1s", "0.5s", "31622401s"} {
		a.call(400, "POST", "/v1/operators/alice/tokens", `{"ttl": "`+ttl+`"}`)
	}
	a.call(200, "POST", "/v1/operators/alice/tokens", `{"ttl": "8784h"}`)
	a.callAs(alice, 200, "GET", "/v1/operators", "")
	uses.Flush(t.Context())
	for _, one := range a.call(200, "GET", "/v1/operators/alice/tokens", "")["tokens"].([]any) {
		one := one.(map[string]any)
		if one["secret"] != "" || (one["last_used_time"] != nil) != (one["description"] == "laptop") {
			t.Errorf("listed: %v", one)
		}
	}
	a.call(200, "PATCH", "/v1/operators/alice", `{"disabled": true}`)
	a.callAs(alice, 401, "GET", "/v1/operators", "")
	a.call(200, "PATCH", "/v1/operators/alice", `{"disabled": false}`)
	a.callAs(alice, 200, "GET", "/v1/operators", "")
	if got := a.callAs(alice, 400, "PATCH", "/v1/operators/alice", `{"disabled": true}`); reason(t, got) != "UNSUPPORTED" {
		t.Errorf("disables itself: %v", got)
	}
	a.callAs(alice, 400, "DELETE", "/v1/operators/alice", "")
	a.callAs(alice, 400, "DELETE", "/v1/operators/alice?validate_only=true", "")
	a.callAs(alice, 200, "PATCH", "/v1/operators/alice", `{"display_name": "Alice"}`)
	a.callAs(alice, 200, "POST", "/v1/operators?operator_id=bob", "")
	a.callAs(alice, 200, "DELETE", "/v1/operators/bob", "")
	a.callAs(alice, 200, "DELETE", "/v1/"+made["name"].(string), "") // its own
	a.callAs(alice, 401, "GET", "/v1/operators", "")
	a.call(200, "DELETE", "/v1/operators/alice", "")
	a.call(200, "GET", "/v1/operators", "") // the operator token stays
}
