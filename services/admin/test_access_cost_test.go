package admin

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/sqlitemeta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// costly is a tenant in which all rules count for each member of a chain, and a member of the
// tenant, alice, who tests herself.
type costly struct {
	store   *interruptedStore
	service *Service
	tenant  meta.Tenant
	alice   access.Principal
}

// costlyEach is how many patterns a rule has, costlyRules how many rules there are at most.
const (
	costlyEach  = maxOfRule
	costlyRules = 1000
)

// costlyTest is about a repository that each pattern matches.
var costlyTest = &pb.TestAccessRequest{Name: "tenants/acme", Registry: "r-0", Reference: strings.Repeat("a/", costlyEach) + "a"}

func (c *costly) test(ctx context.Context) (*pb.TestAccessResponse, error) {
	return c.service.TestAccess(withCaller(ctx, caller{principal: c.alice}), costlyTest)
}

// newCostly has so many rules, and r-0 with a chain over all others, side by side.
func newCostly(tb testing.TB, rules int) *costly {
	tb.Helper()
	store, err := sqlitemeta.Open(tb.Context(), sqlitemeta.Options{Dir: tb.TempDir()})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = store.Close() })
	pattern, err := tenant.NewPattern(tenant.DotPattern, "localhost")
	if err != nil {
		tb.Fatal(err)
	}
	c := &costly{store: &interruptedStore{testStore: store}}
	if c.service, err = New(Config{Store: c.store, Pattern: pattern, OperatorToken: operatorToken, PageKey: []byte("page key of the tests"), Chains: silent{}}); err != nil {
		tb.Fatal(err)
	}
	ctx := tb.Context()
	if c.tenant, err = store.CreateTenant(ctx, costlyCause(), meta.Tenant{Slug: "acme"}, tenant.Settings{}); err != nil {
		tb.Fatal(err)
	}
	var members []meta.Member
	for i := range chain.MaxMembers + 1 {
		_, e := store.CreateRegistry(ctx, costlyCause(), meta.Registry{Tenant: c.tenant.ID, Slug: fmt.Sprint("r-", i)})
		err = errors.Join(err, e)
		if i > 0 {
			members = append(members, meta.Member{Registry: fmt.Sprint("r-", i), Checked: true})
		}
	}
	_, e := store.CreateAccount(ctx, costlyCause(), meta.Account{Tenant: c.tenant.ID, Kind: access.UserKind, Slug: "alice", Role: access.Member})
	err = errors.Join(err, e)
	alice, e := store.FindAccount(ctx, c.tenant.ID, access.UserKind, "alice")
	c.alice = alice.Principal()
	if err = errors.Join(err, e, c.addRules(ctx, rules), c.setGroup(ctx, 0, members)); err != nil {
		tb.Fatal(err)
	}
	return c
}

func costlyCause() meta.Cause { return meta.Cause{Op: uuid.New(), Actor: "operator"} }

// addRules adds rules of which each counts for each repository below a, and is found by alice,
// her groups, everybody signed in, and everybody.
func (c *costly) addRules(ctx context.Context, n int) error {
	var principals, registries, repositories []string
	var err error
	for i := range costlyEach - 3 {
		group := fmt.Sprint("g-", i)
		_, e := c.store.CreatePrincipalGroup(ctx, costlyCause(), meta.PrincipalGroup{Tenant: c.tenant.ID, Slug: group, Members: []string{"users/alice"}})
		err, principals = errors.Join(err, e), append(principals, "groups/"+group)
	}
	principals = append(principals, "users/alice", access.Authenticated, access.AnonymousPrincipal)
	for i := range costlyEach {
		registries = append(registries, fmt.Sprintf("*-none-%d", i))
		repositories = append(repositories, strings.Repeat("a/", i+1)+"**")
	}
	registries[costlyEach-1] = "r-*"
	for i := range n {
		rule := access.Rule{
			Slug: fmt.Sprint("rule-", i), Actions: access.Pull | access.Fill | access.Push | access.Delete,
			Principals: principals, Registries: registries, Repositories: repositories,
		}
		if i == 0 {
			rule.Deny, rule.Actions = true, access.Push|access.Delete // it overrules all others
			rule.Principals = []string{"users/alice"}
		}
		_, e := c.store.CreateAccessRule(ctx, costlyCause(), meta.AccessRule{Tenant: c.tenant.ID, Rule: rule})
		err = errors.Join(err, e)
	}
	return err
}

// setGroup gives a registry a group of its own.
func (c *costly) setGroup(ctx context.Context, registry int, members []meta.Member) error {
	group := fmt.Sprint("below-", registry)
	_, err := c.store.CreateGroup(ctx, costlyCause(), meta.Group{Tenant: c.tenant.ID, Slug: group, Members: members})
	if fault.Is(err, fault.AlreadyExists) {
		var g meta.Group
		if g, err = c.store.FindGroup(ctx, c.tenant.ID, group); err != nil {
			return err
		}
		g.Members = members
		_, err = c.store.UpdateGroup(ctx, costlyCause(), g)
	}
	if err != nil {
		return err
	}
	r, err := c.store.FindRegistry(ctx, c.tenant.ID, fmt.Sprint("r-", registry))
	if err != nil {
		return err
	}
	r.Settings.UpstreamGroup = group
	_, err = c.store.UpdateRegistry(ctx, costlyCause(), r)
	return err
}

// nest makes each registry the only member of the one before it, so that the rights in all of
// those before it decide about it, too.
func (c *costly) nest(tb testing.TB) {
	tb.Helper()
	for i := range chain.MaxMembers {
		if err := c.setGroup(tb.Context(), i, []meta.Member{{Registry: fmt.Sprint("r-", i+1), Checked: true}}); err != nil {
			tb.Fatal(err)
		}
	}
}

// interruptedStore ends the call after one of its reads.
type interruptedStore struct {
	testStore
	afterRules, afterTopology context.CancelFunc // what ends it; nil: it does not end

	topologies int // reads of it
}

func (s *interruptedStore) ListAccessRules(ctx context.Context, t tenant.ID, p meta.Page) ([]meta.AccessRule, error) {
	rules, err := s.testStore.ListAccessRules(ctx, t, p)
	if s.afterRules != nil && len(rules) < p.Size {
		s.afterRules()
	}
	return rules, err
}

func (s *interruptedStore) FindTopology(ctx context.Context, t tenant.ID) (meta.Topology, error) {
	topology, err := s.testStore.FindTopology(ctx, t)
	if s.topologies++; s.afterTopology != nil {
		s.afterTopology()
	}
	return topology, err
}

// allocated are the bytes that a call allocates, and its answer.
func (c *costly) allocated(tb testing.TB) (uint64, *pb.TestAccessResponse) {
	tb.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	m, err := c.test(tb.Context())
	runtime.ReadMemStats(&after)
	if err != nil {
		tb.Fatal(err)
	}
	return after.TotalAlloc - before.TotalAlloc, m
}

// TestU124_WhatATestCostsIsBounded with the most rules, patterns and members, one below the
// other.
func TestU124_WhatATestCostsIsBounded(t *testing.T) {
	const most = 200 << 20
	c := newCostly(t, costlyRules)
	c.nest(t)
	bytes, m := c.allocated(t)
	if t.Logf("it allocates %d MiB", bytes>>20); bytes > most {
		t.Errorf("the bound is %d MiB", most>>20)
	}
	if len(m.GetMembers()) != chain.MaxMembers {
		t.Fatalf("%d members", len(m.GetMembers()))
	}
	for _, member := range m.GetMembers() {
		if pull := member.GetVerdicts()[0]; !member.GetAsked() || !pull.GetAllowed() || len(pull.GetReasons()) != maxReasons {
			t.Fatalf("%v", member)
		}
	}
	if got := said(m, pb.AccessRule_PUSH); !strings.HasPrefix(got, "false; ACCESS_RULE rule-0 users/alice a/**; near rule-1[OVERRULED]") {
		t.Errorf("%s", got)
	}
}

// TestU124_ACallThatEndsStops between rules, and between members.
func TestU124_ACallThatEndsStops(t *testing.T) {
	c := newCostly(t, 2)
	ctx, cancel := context.WithCancel(t.Context())
	c.store.afterRules = cancel
	if _, err := c.test(ctx); !errors.Is(err, context.Canceled) || c.store.topologies != 0 {
		t.Errorf("between rules: %v, and %d topologies are read", err, c.store.topologies)
	}
	c.store.afterRules = nil
	ctx, cancel = context.WithCancel(withCaller(t.Context(), caller{principal: c.alice}))
	c.store.afterTopology = cancel
	q, err := c.service.accessTest(ctx, c.tenant, costlyTest)
	if err != nil {
		t.Fatal(err)
	}
	if m, err := c.service.testMembers(ctx, q); !errors.Is(err, context.Canceled) || len(m) != 0 || len(q.others) != 0 {
		t.Errorf("between members: %v, and %d registries are decided", err, len(q.others))
	}
	c.store.afterTopology = nil
	if _, err := c.test(t.Context()); err != nil {
		t.Errorf("the next call: %v", err)
	}
}

// TestU124_TestsOfATenantTakeTurns, and other tenants do not wait for them.
func TestU124_TestsOfATenantTakeTurns(t *testing.T) {
	a := newRightsAPI(t)
	a.call(200, "POST", "/v1/tenants?tenant_id=other", "")
	acme, err := a.store.FindTenant(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	gate := a.service.tests
	for gate.TryAcquire(acme.ID, 1) { // as many as may be at work
		t.Cleanup(func() { gate.Release(acme.ID, 1) })
	}
	a.call(200, "POST", "/v1/tenants/other:testAccess", `{"principal": "anonymous", "registry": "main", "reference": "app"}`)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, maxTestsWaiting)
	for range maxTestsWaiting {
		go func() {
			_, err := a.service.TestAccess(withCaller(ctx, caller{operator: true}), &pb.TestAccessRequest{Name: "tenants/acme", Principal: "anonymous", Registry: "dev", Reference: "app"})
			ended <- err
		}()
	}
	await.True(t, 30*time.Second, "all wait", func() bool { return gate.Stats().Waiting == maxTestsWaiting })
	resp, text := a.send(operatorToken, "POST", "/v1/tenants/acme:testAccess", `{"principal": "anonymous", "registry": "dev", "reference": "app"}`)
	if resp.StatusCode != 503 || !strings.Contains(string(text), "BUSY") || !strings.Contains(string(text), "retry_delay") {
		t.Errorf("one more: %d %s", resp.StatusCode, text)
	}
	cancel()
	for range maxTestsWaiting {
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("a call that ended while it waited: %v", err)
		}
	}
}

// BenchmarkTestAccess_1000RulesOf64Patterns tests access with 64 members, side by side.
func BenchmarkTestAccess_1000RulesOf64Patterns(b *testing.B) {
	c := newCostly(b, costlyRules)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.test(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
