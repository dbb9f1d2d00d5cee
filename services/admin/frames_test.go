package admin

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"
)

// rawCall sends one gRPC request with the given :path in frames of our own
// making and returns its grpc-status; "reset" where the server answers none.
func rawCall(t *testing.T, addr, path, authorization string) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	framer := http2.NewFramer(conn, conn)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)

	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, f := range []hpack.HeaderField{
		{Name: ":method", Value: "POST"},
		{Name: ":scheme", Value: "http"},
		{Name: ":path", Value: path},
		{Name: ":authority", Value: addr},
		{Name: "content-type", Value: "application/grpc"},
		{Name: "te", Value: "trailers"},
		{Name: "authorization", Value: authorization},
	} {
		if f.Value == "" && f.Name != ":path" {
			continue
		}
		if err := enc.WriteField(f); err != nil {
			t.Fatal(err)
		}
	}
	err = errors.Join(
		framer.WriteSettings(),
		framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true}),
		framer.WriteData(1, true, make([]byte, 5)), // an empty message
	)
	if err != nil {
		t.Fatal(err)
	}
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return "reset"
		}
		switch f := frame.(type) {
		case *http2.MetaHeadersFrame:
			for _, h := range f.Fields {
				if h.Name == "grpc-status" {
					return h.Value
				}
			}
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			return "reset"
		}
	}
}

func TestB15_NoFormOfPathGetsPastAccess(t *testing.T) {
	a := newAPI(t)
	reader := "Bearer " + func() string {
		a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
		return a.account("acme", "reader", "READER")
	}()
	const method = "/berth.admin.v1.AdminService/ListTenants"
	if got := rawCall(t, a.addr, method, "Bearer "+operatorToken); got != strconv.Itoa(int(codes.OK)) {
		t.Fatalf("the plain call: status %s", got)
	}
	for _, authorization := range []string{"", reader} {
		want := codes.PermissionDenied
		if authorization == "" {
			want = codes.Unauthenticated
		}
		if got := rawCall(t, a.addr, method, authorization); got != strconv.Itoa(int(want)) {
			t.Errorf("%s: status %s, want %d", method, got, want)
		}
	}
	for _, path := range []string{
		"berth.admin.v1.AdminService/ListTenants",
		"//berth.admin.v1.AdminService/ListTenants",
		"/berth.admin.v1.AdminService//ListTenants",
		"/berth.admin.v1.AdminService/ListTenants/",
		"/berth.admin.v1.AdminService/ListTenants?x",
		"/berth.admin.v1.AdminService/listtenants",
		"/berth.admin.v1.adminservice/ListTenants",
		"/berth.admin.v1.AdminService/%4cistTenants",
		"/berth.admin.v1.AdminService/",
		"/berth.admin.v1.AdminService",
		"/AdminService/ListTenants",
		"/ListTenants",
		"/../berth.admin.v1.AdminService/ListTenants",
		"http://localhost/berth.admin.v1.AdminService/ListTenants",
		"/grpc.reflection.v1.ServerReflection/ServerReflection",
		"/v1/tenants",
		"*",
		"/",
		"",
	} {
		// Not even the operator gets anything by such a path.
		for _, authorization := range []string{"", reader, "Bearer " + operatorToken} {
			switch got := rawCall(t, a.addr, path, authorization); got {
			case strconv.Itoa(int(codes.Unimplemented)), strconv.Itoa(int(codes.PermissionDenied)), "reset":
			default:
				t.Errorf("%q, %.20s…: status %s", path, authorization, got)
			}
		}
	}
}

func TestB15_HeadersCannotBecomeMetadata(t *testing.T) {
	a := newAPI(t)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	reader := a.account("acme", "reader", "READER")
	resp, refused := a.send(reader, "GET", "/v1/tenants", "")
	if resp.StatusCode != 403 {
		t.Fatalf("a reader: %d", resp.StatusCode)
	}
	names := []string{
		"Authorization", "authorization", "AUTHORIZATION", "Authorization-Bin", "X-User", "x-user", "User", "Role", "X-Role", "Tenant", "X-Tenant",
		"X-Forwarded-User", "X-Request-Id", "Caller", "Principal", "Operator", "Admin", "Actor", "Sub", "Groups", "X-Groups",
	}
	for _, prefix := range []string{"Grpc-Metadata-", "grpc-metadata-", "GRPC-METADATA-", "Grpcgateway-", "grpcgateway-"} {
		for _, name := range names {
			for _, value := range []string{"admin", "operator", "Bearer " + operatorToken} {
				header := prefix + name + ": " + value
				if resp, text := a.send(reader, "GET", "/v1/tenants", "", header); resp.StatusCode != 403 || !bytes.Equal(text, refused) {
					t.Errorf("a reader with %s: %d %s", header, resp.StatusCode, text)
				}
			}
			if resp, _ := a.send("", "GET", "/v1/tenants", "", prefix+name+": Bearer "+operatorToken); resp.StatusCode != 401 {
				t.Errorf("anonymous with %s%s: %d", prefix, name, resp.StatusCode)
			}
		}
	}
	// Nor can a caller choose the id under which its changes are logged.
	forged := "forged"
	for _, header := range []string{"X-Request-Id", "Grpc-Metadata-X-Request-Id"} {
		if resp, _ := a.send(operatorToken, "POST", "/v1/tenants/acme/registries?registry_id=r"+strconv.Itoa(len(header)), "", header+": "+forged); resp.StatusCode != 200 {
			t.Errorf("%s: %d", header, resp.StatusCode)
		}
	}
	if _, text := a.send(operatorToken, "GET", "/v1/tenants/acme/events", ""); strings.Contains(string(text), forged) {
		t.Errorf("a forged request id is in the audit log: %s", text)
	}
}
