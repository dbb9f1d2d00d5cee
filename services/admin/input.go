package admin

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/berth-registry/berth/pkg/fault"
)

// Full names of the messages that JSON writes as text.
const (
	durationName = "google.protobuf.Duration"
	wellKnown    = "google.protobuf."
)

// input reads what people write, in a body or a seed file, for a message: by the
// type of each field it takes a duration as "5m" and a number of bytes as
// "10GiB", too, and says of a wrong value which field has it and what it takes.
// What it returns is what protojson reads. tree is of encoding/json's types, with
// numbers as json.Number. path is where tree stands; empty for a whole body.
func input(path string, m protoreflect.MessageDescriptor, tree any) (any, error) {
	fields, ok := tree.(map[string]any)
	if !ok {
		return nil, wrongValue(path, tree, "is not an object, such as {}")
	}
	out := make(map[string]any, len(fields))
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		at := joined(path, key)
		f := m.Fields().ByName(protoreflect.Name(key))
		if f == nil {
			f = m.Fields().ByJSONName(key)
		}
		if f == nil {
			return nil, unknownField(clipped(at), key, settableFields(m))
		}
		value, err := inputField(at, f, fields[key])
		if err != nil {
			return nil, err
		}
		out[key] = value
	}
	return out, nil
}

func joined(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// knownFields is before the list in the message of unknownField.
const knownFields = "; known fields: "

// unknownField says of a name that it is not a field, and which are.
func unknownField(at, name string, known []string) error {
	return invalid(at, "unknown field %q%s%s", clipped(name), knownFields, strings.Join(known, ", "))
}

func inputField(path string, f protoreflect.FieldDescriptor, value any) (any, error) {
	if value == nil || f.IsMap() {
		return value, nil
	}
	if !f.IsList() {
		return inputValue(path, f, value)
	}
	list, ok := value.([]any)
	if !ok {
		return nil, wrongValue(path, value, "is not a list, such as []")
	}
	out := make([]any, len(list))
	for i, one := range list {
		var err error
		if out[i], err = inputValue(fmt.Sprintf("%s[%d]", path, i), f, one); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func inputValue(path string, f protoreflect.FieldDescriptor, value any) (any, error) {
	text, isText := value.(string)
	switch f.Kind() {
	case protoreflect.MessageKind:
		switch name := string(f.Message().FullName()); {
		case name == durationName:
			return inputDuration(path, value)
		case strings.HasPrefix(name, wellKnown):
			return value, nil
		}
		return input(path, f.Message(), value)
	case protoreflect.EnumKind:
		return value, checkEnum(path, f.Enum(), value)
	case protoreflect.BoolKind:
		if _, ok := value.(bool); !ok {
			return nil, wrongValue(path, value, "is neither true nor false")
		}
	case protoreflect.StringKind:
		if !isText {
			return nil, wrongValue(path, value, "is not text; put it in quotes")
		}
	case protoreflect.Int32Kind, protoreflect.Int64Kind:
		if n, ok := value.(json.Number); ok {
			text = n.String()
		}
		if strings.HasSuffix(string(f.Name()), "_bytes") {
			return inputBytes(path, value, text)
		}
		if _, err := strconv.ParseInt(text, 10, 64); err != nil {
			return nil, wrongValue(path, value, "is not a whole number")
		}
	}
	return value, nil
}

// inputDuration takes what Go takes, and writes it as protobuf does.
func inputDuration(path string, value any) (any, error) {
	text, _ := value.(string)
	d, err := time.ParseDuration(text)
	if err != nil {
		return nil, wrongValue(path, value, `is not a duration, such as "300s", "5m" or "720h"`)
	}
	seconds := strconv.FormatFloat(d.Seconds(), 'f', -1, 64)
	if d%time.Second != 0 {
		seconds = fmt.Sprintf("%d.%09d", d/time.Second, (d % time.Second).Abs())
		if d < 0 && d > -time.Second {
			seconds = "-" + seconds
		}
	}
	return seconds + "s", nil
}

// inputBytes takes a number of bytes with a unit or without; a negative one is
// for the field's own check.
func inputBytes(path string, value any, text string) (any, error) {
	if _, err := strconv.ParseInt(text, 10, 64); err == nil {
		return value, nil
	}
	n, err := humanize.ParseBytes(text)
	if err != nil || n > math.MaxInt64 || text == "" {
		return nil, wrongValue(path, value, `is not a number of bytes, such as 10737418240, "10GiB" or "10GB"`)
	}
	return strconv.FormatUint(n, 10), nil
}

func checkEnum(path string, e protoreflect.EnumDescriptor, value any) error {
	if text, ok := value.(string); ok && e.Values().ByName(protoreflect.Name(text)) != nil {
		return nil
	}
	if n, ok := value.(json.Number); ok {
		if i, err := strconv.ParseInt(n.String(), 10, 32); err == nil && e.Values().ByNumber(protoreflect.EnumNumber(i)) != nil {
			return nil
		}
	}
	var names []string
	for i := range e.Values().Len() {
		if name := string(e.Values().Get(i).Name()); !strings.HasSuffix(name, "_UNSPECIFIED") {
			names = append(names, name)
		}
	}
	return wrongValue(path, value, "is not one of "+strings.Join(names, ", "))
}

// wrongValue shows the value as it was written, unless its field may hold a
// secret.
func wrongValue(path string, value any, what string) *fault.Error {
	if path == "" {
		path = "body"
	}
	if strings.HasSuffix(path, "password") || strings.HasSuffix(path, "secret") {
		return invalid(path, "the value %s", what)
	}
	shown, err := json.Marshal(value)
	if err != nil {
		return invalid(path, "the value %s", what)
	}
	return invalid(path, "%s %s", clipped(string(shown)), what)
}
