package admin

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/berth-registry/berth/pkg/meta"
)

// Bounds of what the audit log keeps of one update.
const (
	maxChanges = meta.MaxChanges
	maxChanged = 256 // bytes of a value
)

// changesOf is what differs between two messages of a resource, without secrets.
func changesOf(before, after proto.Message) []meta.Change {
	descriptors := before.ProtoReflect().Descriptor().Fields()
	old, now := fieldsOf(settable(before, true)), fieldsOf(settable(after, true)) // to be compared
	shownOld, shownNow := fieldsOf(settable(before, false)), fieldsOf(settable(after, false))
	names := maps.Clone(old)
	maps.Copy(names, now)
	var changes []meta.Change
	for _, field := range slices.Sorted(maps.Keys(names)) {
		was, is := old[field], now[field]
		if was == is || follows(descriptors.ByName(protoreflect.Name(field))) || len(changes) == maxChanges {
			continue
		}
		if was, is = shownOld[field], shownNow[field]; was == is {
			is += " (another secret)"
		}
		changes = append(changes, meta.Change{Field: field, Old: shortened(was), New: shortened(is)})
	}
	return changes
}

// settable is the message without the output-only fields of its parts. Unless secrets are
// kept, "(secret)" stands for each field that is never shown.
func settable(m proto.Message, secrets bool) proto.Message {
	shown := proto.Clone(m)
	keepSettable(shown.ProtoReflect(), secrets, false)
	return shown
}

func keepSettable(m protoreflect.Message, secrets, part bool) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.Kind() == protoreflect.StringKind && hasBehavior(f, annotations.FieldBehavior_INPUT_ONLY):
			if !secrets {
				m.Set(f, protoreflect.ValueOfString("(secret)"))
			}
		case part && outputOnly(f):
			m.Clear(f)
		case f.IsMap() || f.Kind() != protoreflect.MessageKind:
		case f.IsList():
			for i := range v.List().Len() {
				keepSettable(v.List().Get(i).Message(), secrets, true)
			}
		default:
			keepSettable(v.Message(), secrets, true)
		}
		return true
	})
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
