// Command accessrules is a plugin of the protobuf compiler that generates nothing. It fails
// if a method does not say who may call it, and with it all of the code generation: a method
// without an access rule has no code.
package main

import (
	"fmt"

	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/pluginpb"
)

// accessField is the number of the option in api/berth/admin/v1/access.proto, whose Go code
// is made by the same run.
const accessField = 50100

func main() {
	protogen.Options{}.Run(func(p *protogen.Plugin) error {
		p.SupportedFeatures = uint64(pluginpb.CodeGeneratorResponse_FEATURE_PROTO3_OPTIONAL)
		for _, file := range p.Files {
			for _, service := range file.Services {
				for _, method := range service.Methods {
					if !hasRule(method.Desc.Options().ProtoReflect().GetUnknown()) {
						return fmt.Errorf("%s does not say who may call it: give it an option (access)", method.Desc.FullName())
					}
				}
			}
		}
		return nil
	})
}

// hasRule looks for the option among fields that this program has no type for.
func hasRule(options protoreflect.RawFields) bool {
	for len(options) > 0 {
		number, kind, n := protowire.ConsumeTag(options)
		if n < 0 {
			return false
		}
		options = options[n:]
		if number == accessField && kind == protowire.VarintType {
			rule, _ := protowire.ConsumeVarint(options)
			return rule != 0
		}
		if n = protowire.ConsumeFieldValue(number, kind, options); n < 0 {
			return false
		}
		options = options[n:]
	}
	return false
}
