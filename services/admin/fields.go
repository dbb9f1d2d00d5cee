package admin

import (
	"slices"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
)

// methods are the descriptors of the API's RPCs, with their options.
var methods = pb.File_berth_admin_v1_admin_proto.Services().ByName("AdminService").Methods()

// hasBehavior looks at the google.api.field_behavior option of the field.
func hasBehavior(f protoreflect.FieldDescriptor, behavior annotations.FieldBehavior) bool {
	all, _ := proto.GetExtension(f.Options(), annotations.E_FieldBehavior).([]annotations.FieldBehavior)
	return slices.Contains(all, behavior)
}

func outputOnly(f protoreflect.FieldDescriptor) bool {
	return hasBehavior(f, annotations.FieldBehavior_OUTPUT_ONLY)
}

// settableFields are the fields of a message that clients may set: all but those that
// are output only and, of a resource, the etag, which is only compared.
func settableFields(m protoreflect.MessageDescriptor) []string {
	name := m.Fields().ByName("name")
	resource := name != nil && outputOnly(name)
	var names []string
	for i := range m.Fields().Len() {
		if f := m.Fields().Get(i); !outputOnly(f) && !(resource && f.Name() == "etag") {
			names = append(names, string(f.Name()))
		}
	}
	return names
}

// bodyFields are the fields of requests that are the whole body of a REST request,
// each with a dot: who writes JSON does not write their names.
var bodyFields = httpBodies()

func httpBodies() []string {
	var fields []string
	for i := range methods.Len() {
		rule, _ := proto.GetExtension(methods.Get(i).Options(), annotations.E_Http).(*annotations.HttpRule)
		if body := rule.GetBody(); body != "" && body != "*" && !slices.Contains(fields, body+".") {
			fields = append(fields, body+".")
		}
	}
	return fields
}

// resourceName is the name of the resource that a request is about, or of the parent
// that it is in. An update has it in the resource.
func resourceName(m protoreflect.Message) string {
	fields := m.Descriptor().Fields()
	for _, name := range []protoreflect.Name{"parent", "name"} {
		if f := fields.ByName(name); f != nil {
			return m.Get(f).String()
		}
	}
	for i := range fields.Len() {
		if f := fields.Get(i); f.Message() != nil && f.Message().Fields().ByName("name") != nil {
			return resourceName(m.Get(f).Message())
		}
	}
	return ""
}
