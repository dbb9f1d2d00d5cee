package boot

import (
	"fmt"
	"io"
	"net/netip"
	"reflect"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Print writes the configuration as YAML for Load, with the origin of each value as
// a comment. Secrets are redacted; Check refuses such a file until they are
// restored.
func (l Loaded) Print(w io.Writer) error {
	fields := reflect.ValueOf(&l.Config).Elem()
	for _, file := range Keys() {
		key, ok := strings.CutSuffix(file, "_file")
		if path, _ := fieldOf(fields, file); ok && path.String() != "" {
			value, _ := fieldOf(fields, key)
			value.SetZero() // its file is printed instead
		}
	}
	doc := &yaml.Node{Kind: yaml.MappingNode}
	for i, key := range Keys() {
		var value yaml.Node
		if err := value.Encode(plain(fields.Field(i).Interface())); err != nil {
			return fmt.Errorf("write %s: %w", key, err)
		}
		value.LineComment = string(l.Origins[key])
		if value.Kind == yaml.SequenceNode {
			value.Style = yaml.FlowStyle
		}
		doc.Content = append(doc.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: key}, &value)
	}
	enc := yaml.NewEncoder(w)
	if err := enc.Encode(doc); err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	return enc.Close()
}

// DefaultText is the default of a setting as an operator would write it; empty
// without one.
func DefaultText(key string) string {
	c := Default()
	field, ok := fieldOf(reflect.ValueOf(&c).Elem(), key)
	if !ok || field.IsZero() && field.Kind() != reflect.Bool {
		return ""
	}
	return fmt.Sprint(plain(field.Interface()))
}

// plain converts a value so that YAML writes it as an operator would.
func plain(v any) any {
	switch v := v.(type) {
	case time.Duration:
		return shortDuration(v)
	case []netip.Prefix:
		texts := make([]string, len(v))
		for i := range v {
			texts[i] = v[i].String()
		}
		return texts
	case []Network:
		texts := make([]string, len(v))
		for i := range v {
			texts[i] = v[i].String()
		}
		return texts
	case Proxies:
		texts := make([]string, len(v))
		for i := range v {
			texts[i] = v[i].String()
		}
		return texts
	case fmt.Stringer:
		return v.String()
	}
	return v
}

// shortDuration writes 26h instead of 26h0m0s.
func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
