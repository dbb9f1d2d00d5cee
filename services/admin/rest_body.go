package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/protobuf/proto"

	"github.com/berth-registry/berth/pkg/fault"
)

// bodies reads the bodies of REST requests by input, and writes answers as
// JSONPb does.
type bodies struct{ runtime.JSONPb }

// NewDecoder implements runtime.Marshaler.
func (b *bodies) NewDecoder(r io.Reader) runtime.Decoder {
	d := json.NewDecoder(r)
	return runtime.DecoderFunc(func(v any) error {
		var text json.RawMessage
		if err := d.Decode(&text); err != nil {
			return bodyError(err) // io.EOF is an empty body
		}
		text, err := readInput(text, v)
		if err != nil {
			return inputError{err}
		}
		return b.JSONPb.NewDecoder(bytes.NewReader(text)).Decode(v)
	})
}

func bodyError(err error) error {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return inputError{invalid("body", "it is not JSON, at byte %d: %s", syntax.Offset, syntax)}
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return inputError{invalid("body", "it is not JSON: it ends too early")}
	}
	return err
}

// readInput is the text that protojson reads into v, a message or a pointer to
// one.
func readInput(text []byte, v any) ([]byte, error) {
	m, ok := v.(proto.Message)
	if p := reflect.ValueOf(v); !ok && p.Kind() == reflect.Pointer && p.Elem().Kind() == reflect.Pointer {
		m, ok = reflect.New(p.Elem().Type().Elem()).Interface().(proto.Message)
	}
	if !ok {
		return text, nil
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var tree any
	if err := d.Decode(&tree); err != nil {
		return nil, bodyError(err)
	}
	if tree == nil {
		return text, nil
	}
	read, err := input("", m.ProtoReflect().Descriptor(), tree)
	if err != nil || reflect.DeepEqual(read, tree) {
		return text, err // as it was written, so that protojson sees a field that is there twice
	}
	return json.Marshal(read)
}

// inputError carries the field at fault through the gateway, which makes a text
// of every error of a decoder. fieldOf takes it apart.
type inputError struct{ error }

// fieldEnd is in no text that is shown.
const fieldEnd = "\x1f"

// Error is the field and the message.
func (e inputError) Error() string {
	f := fault.From(e.error)
	return f.Field + fieldEnd + f.Message
}
