package admin

import (
	"context"
	"maps"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/services/internal/kit"
)

// rpcs are the names of all RPCs of the API.
func rpcs() []string {
	names := make([]string, methods.Len())
	for i := range names {
		names[i] = string(methods.Get(i).Name())
	}
	slices.Sort(names)
	return names
}

func TestC7_EveryRPCHasAnAccessRow(t *testing.T) {
	if rows := slices.Sorted(maps.Keys(rules)); !slices.Equal(rows, rpcs()) {
		t.Errorf("access rows:\n%q\nRPCs:\n%q", rows, rpcs())
	}
}

// A request that names no tenant could not be held to the caller's.
func TestC7_EveryRequestOfATenantNamesIt(t *testing.T) {
	for i := range methods.Len() {
		m := methods.Get(i)
		if rules[string(m.Name())] != pb.Access_TENANT_ADMIN {
			continue
		}
		req := newMessage(t, m.Input())
		nameTenant(req.ProtoReflect(), "tenants/acme")
		if slug, ok := tenantOf(req); !ok || slug != "acme" {
			t.Errorf("%s: tenant %q, %v", m.Name(), slug, ok)
		}
	}
}

func TestEveryRPCIsServed(t *testing.T) {
	desc := operations(gate{service: &Service{}, mw: []kit.Middleware{kit.Access(rules, func(context.Context, pb.Access, any) error { return nil })}})
	var served []string
	for _, m := range desc.Methods {
		served = append(served, m.MethodName)
	}
	slices.Sort(served)
	if !slices.Equal(served, rpcs()) {
		t.Errorf("served:\n%q\nRPCs:\n%q", served, rpcs())
	}
}

// nameTenant puts a resource name where requests of tenants have it.
func nameTenant(m protoreflect.Message, name string) {
	fields := m.Descriptor().Fields()
	for _, f := range []protoreflect.Name{"parent", "name"} {
		if fd := fields.ByName(f); fd != nil {
			m.Set(fd, protoreflect.ValueOfString(name))
			return
		}
	}
	for i := range fields.Len() {
		if fd := fields.Get(i); fd.Kind() == protoreflect.MessageKind && fd.Message().Fields().ByName("name") != nil {
			nameTenant(m.Mutable(fd).Message(), name)
			return
		}
	}
}

// newMessage makes an empty message.
func newMessage(t *testing.T, d protoreflect.MessageDescriptor) proto.Message {
	t.Helper()
	mt, err := protoregistry.GlobalTypes.FindMessageByName(d.FullName())
	if err != nil {
		t.Fatal(err)
	}
	return mt.New().Interface()
}
