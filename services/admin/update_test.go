package admin

import (
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/fault"
)

func TestMergeTakesWhatTheMaskNames(t *testing.T) {
	stored := &pb.Registry{Name: "stored", AnonymousPull: true, ReadOnly: true, Etag: "3"}
	sent := &pb.Registry{Name: "sent", AnonymousPush: true, MissingReferences: pb.Registry_ALLOW, Hosts: []string{"evil.example"}, Etag: "9"}
	for _, tc := range []struct {
		mask []string
		want *pb.Registry
	}{
		{nil, &pb.Registry{AnonymousPull: true, AnonymousPush: true, ReadOnly: true, MissingReferences: pb.Registry_ALLOW}},
		{[]string{"anonymous_pull"}, &pb.Registry{ReadOnly: true}},
		{[]string{"read_only", "missing_references"}, &pb.Registry{AnonymousPull: true, MissingReferences: pb.Registry_ALLOW}},
		{[]string{"*"}, &pb.Registry{AnonymousPush: true, MissingReferences: pb.Registry_ALLOW}},
		// What was read can be sent back: output only fields count for nothing.
		{[]string{"name", "hosts", "etag", "create_time", "create_time.seconds", "read_only"}, &pb.Registry{AnonymousPull: true}},
	} {
		got := proto.CloneOf(stored)
		if err := merge("registry", got, sent, &fieldmaskpb.FieldMask{Paths: tc.mask}); err != nil {
			t.Errorf("mask %q: %v", tc.mask, err)
			continue
		}
		tc.want.Name, tc.want.Etag = stored.GetName(), stored.GetEtag()
		if !proto.Equal(got, tc.want) {
			t.Errorf("mask %q: %v, want %v", tc.mask, got, tc.want)
		}
	}
}

func TestMergeRefusesUnknownPaths(t *testing.T) {
	for _, path := range []string{"", "quotas", "anonymousPull", "anonymous_pull.x", "ANONYMOUS_PULL", "anonymous_pull ", ".", "tenant.name"} {
		err := merge("registry", &pb.Registry{}, &pb.Registry{}, &fieldmaskpb.FieldMask{Paths: []string{"read_only", path}})
		if f := fault.From(err); f == nil || f.Kind != fault.Invalid || f.Field != "update_mask" {
			t.Errorf("path %q: %v", path, err)
		}
	}
	if err := merge("registry", &pb.Registry{}, &pb.Registry{}, &fieldmaskpb.FieldMask{Paths: []string{"*", "read_only"}}); err == nil {
		t.Error("a star among others was taken")
	}
}

func TestMergeRefusesOutputOnlyFieldsAlone(t *testing.T) {
	sent := &pb.Registry{Name: "tenants/acme/registries/dev", State: pb.Registry_DELETED, Etag: "1"}
	for _, mask := range [][]string{nil, {"state"}, {"etag", "state"}} {
		err := merge("registry", &pb.Registry{}, sent, &fieldmaskpb.FieldMask{Paths: mask})
		if f := fault.From(err); f == nil || f.Kind != fault.Invalid || f.Field != "registry.state" {
			t.Errorf("mask %q: %v", mask, err)
		}
	}
	// A name says what to change, and an etag under which condition.
	if err := merge("registry", &pb.Registry{}, &pb.Registry{Name: "tenants/acme/registries/dev", Etag: "1"}, nil); err != nil {
		t.Error(err)
	}
}
