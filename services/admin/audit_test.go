package admin

import (
	"cmp"
	"context"
	"encoding/json"
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
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/identity"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/services/internal/audit"
)

// oneBackup is a deployment that can be backed up.
type oneBackup struct{}

func (oneBackup) Begin(context.Context) (string, time.Time, error) { return "b-there", time.Now(), nil }
func (oneBackup) Renew(string) (time.Time, error)                  { return time.Now(), nil }
func (oneBackup) End(_ string, record func() error) error          { return record() }
func (oneBackup) Snapshot(string) string                           { return "" }

// changesNothing are the RPCs that record no event, by how their names begin.
// RefreshUpstream asks an upstream, as a pull does; RenewBackup only keeps a backup.
var changesNothing = []string{"Get", "List", "Resolve", "Test", "Simulate", "Explain", "SearchContent", "RefreshUpstream", "RenewBackup"}

// mutations are all other RPCs, in an order in which each finds what it changes.
func mutations() []string {
	names := slices.DeleteFunc(rpcs(), func(rpc string) bool {
		return slices.ContainsFunc(changesNothing, func(p string) bool { return strings.HasPrefix(rpc, p) })
	})
	rank := func(rpc string) int {
		switch {
		case rpc == "DeleteSession": // before ChangePassword ends it
			return -2
		case rpc == "DeleteRefreshToken" || rpc == "ChangePassword": // before RevokeTokens ends it, and the user is disabled
			return -1
		case rpc == "DeleteTag": // before its repository goes
			return 3
		case rpc == "SuspendTenant":
			return 1
		case rpc == "ResumeTenant":
			return 2
		case rpc == "DeleteTenant":
			return 6
		case rpc == "DeleteServiceAccount" || rpc == "DeleteUser" || rpc == "DeleteOperator" || rpc == "DeleteRegistry":
			return 5
		case strings.HasPrefix(rpc, "Delete") || strings.HasPrefix(rpc, "Release"):
			return 4
		default:
			return 0
		}
	}
	slices.SortStableFunc(names, func(a, b string) int { return cmp.Compare(rank(a), rank(b)) })
	return names
}

// mutation is a request of the RPC that changes something.
func mutation(t *testing.T, rpc string) proto.Message {
	t.Helper()
	state := "there"
	switch {
	case matrixRows[rpc].makes:
		state = "missing"
	case rpc == "UndeleteTenant" || rpc == "UndeleteRegistry":
		state = "deleting"
	}
	req := matrixRequest(t, rpc, state)
	if fd := req.ProtoReflect().Descriptor().Fields().ByName("validate_only"); fd != nil {
		req.ProtoReflect().Set(fd, protoreflect.ValueOfBool(false))
	}
	switch req := req.(type) {
	case *pb.VerifyDomainRequest:
		req.Name = "tenants/t-there/domains/d-own.example"
	case *pb.UpdateDomainRequest:
		req.Domain.Registry = "r-there"
	case *pb.UpdateUpstreamGroupRequest:
		req.UpstreamGroup.Members = []*pb.UpstreamGroup_Member{{Kind: &pb.UpstreamGroup_Member_Registry{Registry: "r-there"}}}
	}
	return req
}

// allEvents are the logs of all tenants and of the deployment.
func (a *api) allEvents() map[int64]meta.Event {
	a.t.Helper()
	tenants, err := a.store.ListHolders(a.t.Context(), meta.Page{Size: 100})
	if err != nil {
		a.t.Fatal(err)
	}
	all := map[int64]meta.Event{}
	for _, holder := range append(tenants, meta.Tenant{ID: meta.Deployment}) {
		events, err := a.store.ListEvents(a.t.Context(), holder.ID, meta.Page{Size: 1000})
		if err != nil {
			a.t.Fatal(err)
		}
		for _, e := range events {
			all[e.ID] = e
		}
	}
	return all
}

// TestU80_EveryMutationHasItsEvent calls every RPC that changes something.
func TestU80_EveryMutationHasItsEvent(t *testing.T) {
	a := newAPI(t, func(c *Config, _ *Options) { c.Backups = oneBackup{} })
	admin := strings.TrimPrefix(principals(t, a)["own admin"].authorization[0], "Bearer ")
	resources(t, a)
	self := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+a.keyOf("t-there", access.UserKind, "us-there", "k-self", time.Time{}))
	if _, err := a.store.ClaimIdentity(t.Context(), identity.New()); err != nil { // whose keys are replaced
		t.Fatal(err)
	}
	if resp, text := a.send(admin, "POST", "/v1/tenants/t-there/domains?domain_id=d-own.example", `{"registry": "main"}`); resp.StatusCode != 200 {
		t.Fatalf("%s: %s", resp.Status, text)
	}
	conn, err := grpc.NewClient(a.addr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithUserAgent("walker/1"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+operatorToken)
	for _, rpc := range mutations() {
		before := a.allEvents()
		caller, actor := ctx, "operator"
		if rules[rpc] == pb.Access_SELF {
			caller, actor = self, "users/us-there"
		}
		if err := invoke(caller, t, conn, rpc, mutation(t, rpc)); err != nil {
			t.Errorf("%s: %v", rpc, err)
			continue
		}
		logs := map[bool][]meta.Event{} // by whether it is the deployment's
		for id, e := range a.allEvents() {
			if _, old := before[id]; !old {
				logs[e.Tenant == meta.Deployment] = append(logs[e.Tenant == meta.Deployment], e)
			}
		}
		own, tenants := 0, 1
		ofTenant := strings.HasSuffix(rpc, "Tenant")
		if ofTenant {
			own = 1
		} else if _, inTenant := tenantOf(matrixRows[rpc].request); !inTenant {
			own, tenants = 1, 0
		}
		if len(logs[true]) != own || len(logs[false]) != tenants {
			t.Errorf("%s: the deployment's log has %+v, those of tenants %+v", rpc, logs[true], logs[false])
		}
		for _, e := range slices.Concat(logs[true], logs[false]) {
			if e.Actor != actor || e.Address != "127.0.0.1" || !strings.HasPrefix(e.UserAgent, "walker/1") || e.RequestID == "" || e.Changes == "" {
				t.Errorf("%s: %+v", rpc, e)
			}
			if want := e.Tenant != meta.Deployment && !ofTenant && actor == "operator"; want != (e.OnBehalf != "") {
				t.Errorf("%s: on behalf of %q", rpc, e.OnBehalf)
			}
		}
	}
}

// TestU81_OperatorsHaveALogOfTheirOwn fails logins at both transports, and reads what
// the log says of them and of a new tenant.
func TestU81_OperatorsHaveALogOfTheirOwn(t *testing.T) {
	var refusals *audit.Refusals
	a := newAPI(t, func(c *Config, o *Options) {
		refusals = audit.New(c.Store, slog.New(slog.DiscardHandler))
		o.Refusals = refusals
	})
	admin := strings.TrimPrefix(principals(t, a)["own admin"].authorization[0], "Bearer ")
	conn, err := grpc.NewClient(a.addr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithUserAgent("walker/1"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	wrong := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer berth_wrong")
	for range 20 {
		a.send("berth_wrong", "GET", "/v1/tenants", "")
		if _, err := pb.NewAdminServiceClient(conn).ListTenants(wrong, &pb.ListTenantsRequest{}); status.Code(err) != codes.Unauthenticated {
			t.Fatal(err)
		}
	}
	a.send(admin, "GET", "/v1/tenants", "")
	refusals.Flush(t.Context())

	resp, text := a.send(operatorToken, "GET", "/v1/events?order_by=time", "")
	var log struct {
		Events []struct{ Name, Verb, Target, Actor, Times, Address string }
	}
	if err := json.Unmarshal(text, &log); err != nil || resp.StatusCode != 200 {
		t.Fatal(resp.Status, err)
	}
	failed := map[string]string{}
	var made []string
	for _, e := range log.Events {
		switch e.Verb {
		case "login.fail":
			failed[e.Address] += e.Times
		case "tenant.create":
			made = append(made, e.Target)
		case "call.deny":
			t.Errorf("what an account may not do is its tenant's: %+v", e)
		}
		if !strings.HasPrefix(e.Name, "events/") {
			t.Errorf("%+v", e)
		}
	}
	if failed["127.0.0.1"] != "20" || failed[""] != "20" { // without the middleware of a listener, REST knows no address
		t.Errorf("failed logins %v", failed)
	}
	if !slices.Contains(made, "tenants/t-there") {
		t.Errorf("tenants made: %q", made)
	}
	if resp, _ := a.send(admin, "GET", "/v1/events", ""); resp.StatusCode != 403 {
		t.Errorf("a tenant's admin reads the operators' log: %s", resp.Status)
	}
	resp, text = a.send(operatorToken, "GET", "/v1/events?filter=address%3D%22127.0.0.1%22", "")
	if resp.StatusCode != 200 || strings.Contains(string(text), "tenant.create") || !strings.Contains(string(text), "login.fail") {
		t.Errorf("by address: %s", text)
	}
}

// TestU83_ExportIsAWholeLog exports logs that are longer than a page, and continues from a
// line of the middle.
func TestU83_ExportIsAWholeLog(t *testing.T) {
	a := newAPI(t)
	admin := strings.TrimPrefix(principals(t, a)["own admin"].authorization[0], "Bearer ")
	tn, err := a.store.FindTenant(t.Context(), "t-there")
	if err != nil {
		t.Fatal(err)
	}
	refusals := map[meta.Refusal]int64{}
	for i := range 2*exportPage + 50 {
		refusals[meta.Refusal{Tenant: tn.ID, Actor: "serviceAccounts/ci", Address: fmt.Sprint("192.0.2.", i), Minute: time.Unix(1_700_000_040, 0)}] = 1
	}
	if err := a.store.RecordRefusals(t.Context(), refusals); err != nil {
		t.Fatal(err)
	}
	all, err := a.store.ListEvents(t.Context(), tn.ID, meta.Page{Size: 1000})
	if err != nil {
		t.Fatal(err)
	}
	names := func(query string) []string {
		t.Helper()
		resp, text := a.send(admin, "GET", "/v1/tenants/t-there/events:export"+query, "")
		if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/jsonl" {
			t.Fatalf("%s: %s", resp.Status, text)
		}
		var got []string
		for line := range strings.Lines(string(text)) {
			var e struct{ Name string }
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			got = append(got, e.Name)
		}
		return got
	}
	whole := names("")
	if len(whole) != len(all) || whole[0] != fmt.Sprint("tenants/t-there/events/", all[len(all)-1].ID) {
		t.Errorf("%d events, of %d", len(whole), len(all))
	}
	if rest := names("?after=" + whole[99]); !slices.Equal(rest, whole[100:]) {
		t.Errorf("after event 100 there are %d of %d", len(rest), len(whole))
	}
	filter := "?filter=" + url.QueryEscape(`verb="call.deny" AND address="192.0.2.7"`)
	if got := names(filter); len(got) != 1 {
		t.Errorf("filtered: %q", got)
	}
	if got := names(filter + "&after=" + whole[len(whole)-1]); len(got) != 0 {
		t.Errorf("filtered, after the end: %q", got)
	}
	for query, want := range map[string]int{"?page_size=1": 400, "?after=x": 400, "?filter=x": 400} {
		if resp, text := a.send(admin, "GET", "/v1/tenants/t-there/events:export"+query, ""); resp.StatusCode != want {
			t.Errorf("%s: %s %s", query, resp.Status, text)
		}
	}
	for path, want := range map[string]int{"/v1/tenants/t-other/events:export": 403, "/v1/events:export": 403} {
		if resp, _ := a.send(admin, "GET", path, ""); resp.StatusCode != want {
			t.Errorf("%s by the admin of another: %s", path, resp.Status)
		}
	}
	resp, text := a.send(operatorToken, "GET", "/v1/events:export", "")
	if resp.StatusCode != 200 || !strings.Contains(string(text), "tenants/t-there") {
		t.Errorf("%s: %s", resp.Status, text)
	}
	if resp, _ := a.send("", "GET", "/v1/tenants/t-there/events:export", ""); resp.StatusCode != 401 {
		t.Errorf("without a credential: %s", resp.Status)
	}
}
