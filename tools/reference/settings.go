package main

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"

	"github.com/berth-registry/berth/pkg/boot"
)

// settings lists every setting with its default.
func settings(page *bytes.Buffer) error {
	page.WriteString("# Settings\n\n" + generated +
		"Every setting is a key of the YAML file that `--config` (or `BERTH_CONFIG`) names. It is also a variable, `BERTH_` and the key in\n" +
		"capitals, and a flag, `--` and the key with dashes. Flags win over variables, variables over the file. A secret has no flag: command\n" +
		"lines are public on a machine. Unknown keys are errors. `berth config print` shows what is in force and where each value is from;\n" +
		"`berth config check` finds mistakes.\n\n" +
		"| setting | default | meaning |\n| --- | --- | --- |\n")
	value := reflect.ValueOf(boot.Default())
	for i := range value.NumField() {
		field := value.Type().Field(i)
		key := field.Tag.Get("setting")
		if key == "" {
			return fmt.Errorf("field %s has no setting tag", field.Name)
		}
		help := field.Tag.Get("help")
		if help == "" {
			file, ok := value.Type().FieldByName(field.Name + "File")
			if !ok {
				return fmt.Errorf("setting %s has no help", key)
			}
			help = fmt.Sprintf("What the file of `%s` would hold. No flag.", file.Tag.Get("setting"))
		}
		fmt.Fprintf(page, "| `%s` | %s | %s |\n", key, defaultOf(value.Field(i)), escape(help))
	}
	return nil
}

// defaultOf shows a default as it would be written in the file.
func defaultOf(v reflect.Value) string {
	if v.IsZero() {
		return ""
	}
	return "`" + fmt.Sprint(v.Interface()) + "`"
}

// escape makes a text a cell of a table.
func escape(text string) string {
	return strings.NewReplacer("|", `\|`, "<", "&lt;", "\n", " ").Replace(text)
}
