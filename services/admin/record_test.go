package admin

import (
	"context"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// nameServer answers TXT questions with what records holds; a name without
// records does not exist, and while down is set it fails.
type nameServer struct {
	addr    string
	records atomic.Pointer[map[string][]string]
	down    atomic.Bool
}

func startNameServer(t *testing.T) *nameServer {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &nameServer{addr: conn.LocalAddr().String()}
	s.records.Store(&map[string][]string{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if answer := s.answer(buf[:n]); answer != nil {
				_, _ = conn.WriteTo(answer, from)
			}
		}
	}()
	t.Cleanup(func() {
		_ = conn.Close()
		<-done
	})
	return s
}

func (s *nameServer) answer(question []byte) []byte {
	var m dnsmessage.Message
	if err := m.Unpack(question); err != nil || len(m.Questions) != 1 {
		return nil
	}
	q := m.Questions[0]
	m.Response, m.Additionals = true, nil
	values := (*s.records.Load())[q.Name.String()]
	switch {
	case s.down.Load():
		m.RCode = dnsmessage.RCodeServerFailure
	case q.Type != dnsmessage.TypeTXT || len(values) == 0:
		m.RCode = dnsmessage.RCodeNameError
	}
	for _, v := range values {
		m.Answers = append(m.Answers, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Type: dnsmessage.TypeTXT, Class: dnsmessage.ClassINET, TTL: 1},
			Body:   &dnsmessage.TXTResource{TXT: []string{v}},
		})
	}
	packed, err := m.Pack()
	if err != nil {
		return nil
	}
	return packed
}

func (s *nameServer) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", s.addr)
	}}
}

func TestDomainsOfTenantsNeedProof(t *testing.T) {
	dns := startNameServer(t)
	a := newAPI(t, func(c *Config, _ *Options) { c.Resolver = dns.resolver() })
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	a.call(200, "POST", "/v1/tenants?tenant_id=evil", "")
	acme, evil := a.account("acme", "boss", "ADMIN"), a.account("evil", "boss", "ADMIN")

	const domain = "/domains/registry.acme.example"
	create := "/domains?domain_id=Registry.Acme.Example."
	made := a.callAs(acme, 200, "POST", "/v1/tenants/acme"+create, `{"registry": "main"}`)
	name, value := made["txt_name"].(string), made["txt_value"].(string)
	if made["name"] != "tenants/acme"+domain || made["verified"] != false || name != "_berth-challenge.registry.acme.example" || !strings.HasPrefix(value, "berth-verification=") {
		t.Fatalf("domain %v", made)
	}
	// The claim of one tenant does not keep another from proving its right.
	theirs := a.callAs(evil, 200, "POST", "/v1/tenants/evil"+create, `{"registry": "main"}`)
	if theirs["txt_value"] == value {
		t.Error("two tenants have the same challenge")
	}

	verify := func(want int, token, tenantID string) map[string]any {
		return a.callAs(token, want, "POST", "/v1/tenants/"+tenantID+domain+":verify", "")
	}
	if got := verify(400, acme, "acme"); reason(t, got) != "DOMAIN_RECORD_MISSING" {
		t.Errorf("no record: %v", got)
	}
	dns.records.Store(&map[string][]string{name + ".": {"v=spf1 -all", "berth-verification=other"}})
	if got := verify(400, acme, "acme"); reason(t, got) != "DOMAIN_RECORD_MISSING" {
		t.Errorf("a wrong record: %v", got)
	}
	dns.down.Store(true)
	if got := verify(503, acme, "acme"); reason(t, got) != "UNAVAILABLE" {
		t.Errorf("no answer: %v", got)
	}
	dns.down.Store(false)
	if got := a.callAs(acme, 200, "GET", "/v1/tenants/acme/registries/main", ""); len(got["hosts"].([]any)) != 1 {
		t.Errorf("an unproven domain is a host: %v", got["hosts"])
	}

	dns.records.Store(&map[string][]string{name + ".": {"v=spf1 -all", value}})
	if got := a.callAs(acme, 200, "POST", "/v1/tenants/acme"+domain+":verify", `{"validate_only": true}`); got["verified"] != true {
		t.Errorf("validated: %v", got)
	}
	if got := a.callAs(acme, 200, "GET", "/v1/tenants/acme"+domain, ""); got["verified"] != false {
		t.Errorf("validate_only verified it: %v", got)
	}
	if got := verify(200, acme, "acme"); got["verified"] != true || got["txt_value"] != "" {
		t.Errorf("verified: %v", got)
	}
	if got := verify(400, evil, "evil"); reason(t, got) != "DOMAIN_RECORD_MISSING" {
		t.Errorf("with the proof of another: %v", got)
	}
	if got := a.callAs(acme, 200, "GET", "/v1/tenants/acme/registries/main", ""); len(got["hosts"].([]any)) != 2 {
		t.Errorf("hosts %v", got["hosts"])
	}
	// Once proven the name is taken, for the operator too.
	a.call(409, "POST", "/v1/tenants/evil/domains?domain_id=registry.acme.example", `{"registry": "main"}`)
	a.callAs(acme, 409, "POST", "/v1/tenants/acme"+create, `{"registry": "main"}`)
	a.callAs(acme, 400, "POST", "/v1/tenants/acme/domains?domain_id=localhost", `{"registry": "main"}`)
}

func TestDomainsOfTheOperatorLeadAtOnce(t *testing.T) {
	a := newAPI(t)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	for _, host := range []string{"registry.acme.example", "127.0.0.1", "localhost"} {
		got := a.call(200, "POST", "/v1/tenants/acme/domains?domain_id="+host, `{"registry": "main"}`)
		if got["verified"] != true || got["txt_name"] != "" {
			t.Errorf("%s: %v", host, got)
		}
	}
}
