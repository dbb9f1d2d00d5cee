package admin

import (
	"net/url"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"github.com/grpc-ecosystem/grpc-gateway/v2/utilities"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// The gateway keeps its query parser in a global: it is set here, once, before
// anything is served.
var _ = runtime.NewServeMux(runtime.SetQueryParameterParser(strictQuery{}))

// strictQuery refuses parameters that the request has no field for: a misspelt
// validate_only must not become the real thing.
type strictQuery struct{ runtime.DefaultQueryParser }

// Parse is for runtime.SetQueryParameterParser.
func (q strictQuery) Parse(m proto.Message, values url.Values, filter *utilities.DoubleArray) error {
	fields := m.ProtoReflect().Descriptor().Fields()
	for key := range values {
		top, _, _ := strings.Cut(key, ".")
		field := fields.ByName(protoreflect.Name(top))
		if field == nil || filter.HasCommonPrefix([]string{top}) {
			return inputError{invalid(clipped(key), "unknown parameter %q; known parameters: %s", clipped(key), strings.Join(parameters(fields, filter), ", "))}
		}
		if len(values[key]) > 1 && !field.IsList() {
			return inputError{invalid(key, "the parameter is given twice")}
		}
	}
	return q.DefaultQueryParser.Parse(m, values, filter)
}

// parameters are the fields of a request that its path and body do not hold.
func parameters(fields protoreflect.FieldDescriptors, filter *utilities.DoubleArray) []string {
	var names []string
	for i := range fields.Len() {
		if name := string(fields.Get(i).Name()); !filter.HasCommonPrefix([]string{name}) {
			names = append(names, name)
		}
	}
	return names
}
