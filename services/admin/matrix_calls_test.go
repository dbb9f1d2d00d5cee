package admin

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// The table of who may do what: each RPC and its route, by each kind of principal, about a
// resource that is there, missing, or being deleted.
func TestU66_EveryRPCAndRouteByEveryPrincipalInEveryState(t *testing.T) {
	a := newAPI(t)
	who := principals(t, a)
	resources(t, a)
	selves(t, a, who)
	conn, err := grpc.NewClient(a.addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()

	cells := 0
	for _, rpc := range rpcs() {
		for name, p := range who {
			for _, state := range []string{"there", "missing", "deleting"} {
				cells += 2
				md := metadata.MD{"authorization": p.authorization}
				req, want := matrixRequest(t, rpc, state), matrixWant(rpc, p, state)
				wantRPC := want
				if p.cookie != "" {
					md.Set("cookie", p.cookie)
					wantRPC = codes.Unauthenticated
				}
				err := invoke(metadata.NewOutgoingContext(t.Context(), md), t, conn, rpc, req)
				if got := status.Code(err); got != wantRPC {
					t.Errorf("%s by %s, %s: %v, want %v", rpc, name, state, err, wantRPC)
				}
				method, path, body := route(t, rpc, req)
				headers := []string{"Cookie: " + p.cookie}
				for _, v := range p.authorization {
					headers = append(headers, "Authorization: "+v)
				}
				if resp, text := a.send("", method, path, body, headers...); resp.StatusCode != runtime.HTTPStatusFromCode(want) {
					t.Errorf("%s %s by %s, %s: %d %s, want %v", method, path, name, state, resp.StatusCode, text, want)
				}
			}
		}
	}
	const least = 4000
	if want := len(rpcs()) * len(who) * 3 * 2; cells != want || cells < least {
		t.Errorf("%d cells, want %d, and at least %d", cells, want, least)
	}
}

var pathField = regexp.MustCompile(`\{([a-z_.]+)=[^}]*\}`)

// route is the REST request that means the same as the message.
func route(t *testing.T, rpc string, message proto.Message) (string, string, string) {
	t.Helper()
	m := methods.ByName(protoreflect.Name(rpc))
	rule, _ := proto.GetExtension(m.Options(), annotations.E_Http).(*annotations.HttpRule)
	method, path := verbOf(rule)
	rest := proto.Clone(message).ProtoReflect()
	path = pathField.ReplaceAllStringFunc(path, func(in string) string {
		in = pathField.FindStringSubmatch(in)[1]
		at := rest
		for {
			first, more, nested := strings.Cut(in, ".")
			f := at.Descriptor().Fields().ByName(protoreflect.Name(first))
			if !nested {
				value := at.Get(f).String()
				at.Clear(f)
				return value
			}
			at, in = at.Mutable(f).Message(), more
		}
	})
	body := ""
	switch rule.GetBody() {
	case "":
	case "*":
		body = marshalled(t, rest.Interface())
		rest = rest.New()
	default:
		f := rest.Descriptor().Fields().ByName(protoreflect.Name(rule.GetBody()))
		if rest.Has(f) {
			body = marshalled(t, rest.Get(f).Message().Interface())
		}
		rest.Clear(f)
	}
	query := url.Values{}
	rest.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if f.Message() != nil { // an update mask: the fields of the body are that
			return true
		}
		query.Set(string(f.Name()), v.String())
		return true
	})
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return method, path, body
}

func verbOf(rule *annotations.HttpRule) (string, string) {
	switch p := rule.GetPattern().(type) {
	case *annotations.HttpRule_Get:
		return http.MethodGet, p.Get
	case *annotations.HttpRule_Post:
		return http.MethodPost, p.Post
	case *annotations.HttpRule_Patch:
		return http.MethodPatch, p.Patch
	case *annotations.HttpRule_Delete:
		return http.MethodDelete, p.Delete
	default:
		return "", ""
	}
}

func marshalled(t *testing.T, m proto.Message) string {
	t.Helper()
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
