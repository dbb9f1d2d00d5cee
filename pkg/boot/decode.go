package boot

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/go-viper/mapstructure/v2"
)

var (
	errNotSize     = errors.New("is not a number of bytes, such as 512MiB or 20GB")
	errNotDuration = errors.New("needs a number and a unit, such as 90s, 15m or 720h")
	errNotBool     = errors.New("is neither true nor false")
	errNotNumber   = errors.New("is not a number, such as 64")
	errNotNetwork  = errors.New("is not a network such as 10.0.0.0/8")
)

// decode converts a value of YAML or the environment to the field's type.
// mapstructure's own conversions are off: they would read 30 as 30 ns.
func decode(value any, field reflect.Value) error {
	target := reflect.New(field.Type())
	d, err := mapstructure.NewDecoder(&mapstructure.DecoderConfig{
		Result:     target.Interface(),
		DecodeHook: mapstructure.ComposeDecodeHookFunc(splitList, parseText),
	})
	if err != nil {
		return err
	}
	if err := d.Decode(value); err != nil {
		return explain(err, value, field.Type())
	}
	if target.Elem().Kind() == reflect.Slice && target.Elem().Len() == 0 {
		target.Elem().SetZero() // [] is the same as no value
	}
	field.Set(target.Elem())
	return nil
}

// splitList parses a list written as a,b,c, as in the environment.
func splitList(from, to reflect.Type, value any) (any, error) {
	if from.Kind() != reflect.String || to.Kind() != reflect.Slice {
		return value, nil
	}
	parts := strings.Split(value.(string), ",")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	if to == reflect.TypeFor[[]Network]() {
		parts = joinPorts(parts)
	}
	return parts, nil
}

// parseText reads every type that is written as text.
func parseText(from, to reflect.Type, value any) (any, error) {
	target := reflect.New(to).Interface()
	text, isText := value.(string)
	switch target := target.(type) {
	case *time.Duration:
		d, err := time.ParseDuration(text)
		if err != nil || !isText {
			return nil, errNotDuration
		}
		return d, nil
	case *ByteSize:
		if from.Kind() == reflect.Int || isText {
			text = fmt.Sprint(value)
		}
		return *target, target.UnmarshalText([]byte(text))
	case *int:
		if !isText {
			return value, nil
		}
		n, err := strconv.Atoi(text)
		if err != nil {
			return nil, errNotNumber
		}
		return n, nil
	case *bool:
		switch {
		case !isText:
			return value, nil
		case text == "true" || text == "1":
			return true, nil
		case text == "false" || text == "0":
			return false, nil
		}
		return nil, errNotBool
	case *netip.Prefix: // its UnmarshalText takes nothing for a prefix
		if !isText {
			return value, nil
		}
		return netip.ParsePrefix(text)
	case interface{ UnmarshalText([]byte) error }:
		if !isText {
			return value, nil
		}
		err := target.UnmarshalText([]byte(text))
		return reflect.ValueOf(target).Elem().Interface(), err
	}
	return value, nil
}

// explain says what is wrong with a value, and shows it unless its type may hold a
// secret.
func explain(err error, value any, t reflect.Type) error {
	shown := fmt.Sprintf("%q ", fmt.Sprint(value))
	if t == reflect.TypeFor[Secret]() || t == reflect.TypeFor[URL]() || t == reflect.TypeFor[Proxies]() {
		shown = "the value "
	}
	for _, known := range []error{errNotSize, errNotDuration, errNotBool, errNotNumber, errNotAllowed, errNotProxy} {
		if errors.Is(err, known) {
			return fmt.Errorf("%s%w", shown, known)
		}
	}
	switch {
	case t == reflect.TypeFor[[]netip.Prefix]():
		return fmt.Errorf("%s%w", shown, errNotNetwork)
	case t.Kind() == reflect.Slice:
		return fmt.Errorf("%sis not a list of words", shown)
	case t.Kind() == reflect.Bool:
		return fmt.Errorf("%s%w", shown, errNotBool)
	case t.Kind() == reflect.Int:
		return fmt.Errorf("%s%w", shown, errNotNumber)
	default:
		return fmt.Errorf("%sis not text; put it in quotes", shown)
	}
}
