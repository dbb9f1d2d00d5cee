package admin

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/berth-registry/berth/pkg/meta"
)

// Bounds of what the audit log keeps of one update.
const (
	maxChanges = 32
	maxChanged = 256 // bytes of a value
)

// changesOf is what differs between two messages of a resource, without secrets.
func changesOf(before, after proto.Message) []meta.Change {
	descriptors := before.ProtoReflect().Descriptor().Fields()
	old, now := fieldsOf(before), fieldsOf(after)
	names := maps.Clone(old)
	maps.Copy(names, now)
	var changes []meta.Change
	for _, field := range slices.Sorted(maps.Keys(names)) {
		was, is := old[field], now[field]
		if was == is || follows(descriptors.ByName(protoreflect.Name(field))) || len(changes) == maxChanges {
			continue
		}
		if field == "password" {
			was, is = "(secret)", "(another secret)"
		}
		changes = append(changes, meta.Change{Field: field, Old: shortened(was), New: shortened(is)})
	}
	return changes
}

// follows says of a field that no client sets it. A state is set by a method of its
// own, such as :suspend.
func follows(f protoreflect.FieldDescriptor) bool {
	return f.Name() == "etag" || outputOnly(f) && f.Name() != "state"
}

// fieldsOf are the fields of a message as JSON; text stands without its quotes.
func fieldsOf(m proto.Message) map[string]string {
	text, err := protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}.Marshal(m)
	if err != nil {
		return nil
	}
	var raw map[string]any
	if err := json.Unmarshal(text, &raw); err != nil {
		return nil
	}
	fields := make(map[string]string, len(raw))
	for name, value := range raw {
		switch v := value.(type) {
		case string:
			fields[name] = v
		default:
			encoded, err := json.Marshal(v)
			if err == nil {
				fields[name] = string(encoded)
			}
		}
	}
	return fields
}

func shortened(s string) string {
	if len(s) > maxChanged {
		s = s[:maxChanged] + "…"
	}
	return strings.ToValidUTF8(s, "")
}
