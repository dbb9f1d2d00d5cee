package boot

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// envPrefix begins the environment variable of every setting.
const envPrefix = "BERTH_"

// envConfigFile is the variable that names the configuration file when no flag
// does. It is not a setting itself.
const envConfigFile = envPrefix + "CONFIG"

// maxConfigBytes bounds the configuration file and every secret file.
const maxConfigBytes = 1 << 20

// Origin says where the value of a setting came from.
type Origin string

// The origins, weakest first.
const (
	FromDefault Origin = "default"
	FromFile    Origin = "file"
	FromEnv     Origin = "environment"
	FromFlag    Origin = "flag"
)

// Sources is what Load reads. The zero value gives the defaults.
type Sources struct {
	File    string         // path of the YAML file; empty: the one that BERTH_CONFIG names, if any
	Environ []string       // as os.Environ returns it; an empty variable counts as absent
	Flags   map[string]any // by key, each of the type of its field in Config
}

// Loaded is a configuration together with where each value came from.
type Loaded struct {
	Config
	Origins map[string]Origin // by key
}

// Load reads the file, which the environment overrides, and flags override both.
// The error is Problems, with one entry for each mistake; Load checks only the
// syntax, Config.Check the values.
func Load(src Sources) (Loaded, error) {
	l := loader{Loaded: Loaded{Config: Default(), Origins: map[string]Origin{}}}
	for _, key := range Keys() {
		l.Origins[key] = FromDefault
	}
	l.standardEnv(src.Environ)
	path := src.File
	if path == "" {
		path = lookupEnv(src.Environ, envConfigFile)
	}
	if path != "" {
		l.file(path)
	}
	l.environ(src.Environ)
	for _, key := range slices.Sorted(maps.Keys(src.Flags)) {
		l.set(key, src.Flags[key], FromFlag, "--"+strings.ReplaceAll(key, "_", "-"))
	}
	l.secretFiles()
	if len(l.problems) > 0 {
		return l.Loaded, l.problems
	}
	return l.Loaded, nil
}

type loader struct {
	Loaded
	problems Problems
}

func (l *loader) file(path string) {
	text, err := readSmallFile(path)
	if err != nil {
		l.problems.add("config file", "%s", fileProblem(path, err))
		return
	}
	l.yaml(text, path)
}

// yaml reads the text of a configuration file; path is for messages only.
func (l *loader) yaml(text []byte, path string) {
	var values map[string]any
	if err := yaml.Unmarshal(text, &values); err != nil {
		l.problems.add("config file", "%s is not YAML of the form `key: value`: %s", path, oneLine(err))
		return
	}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		// A key without a value (`redis:`) keeps the default.
		if values[key] != nil {
			l.set(key, values[key], FromFile, path)
		}
	}
}

func (l *loader) environ(environ []string) {
	vars := map[string]string{}
	for _, e := range environ {
		name, value, _ := strings.Cut(e, "=")
		if strings.HasPrefix(name, envPrefix) && value != "" && name != envConfigFile && !serviceLink.MatchString(name) {
			vars[name] = value
		}
	}
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		l.set(strings.ToLower(strings.TrimPrefix(name, envPrefix)), vars[name], FromEnv, name)
	}
}

// serviceLink matches the variables that Kubernetes gives every pod of a
// namespace in which a Service named berth, or berth-something, exists.
var serviceLink = regexp.MustCompile(`^BERTH_([A-Z0-9_]+_)?(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)

// standardEnv reads variables that other programs have, too; all settings of Berth
// override them, and the last of a setting those before.
func (l *loader) standardEnv(environ []string) {
	for _, s := range []struct{ name, key string }{
		{"OTEL_EXPORTER_OTLP_ENDPOINT", "otel_endpoint"},
		{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "otel_endpoint"},
		{"HTTPS_PROXY", "https_proxy"},
		{"https_proxy", "https_proxy"},
		{"HTTP_PROXY", "http_proxy"},
		{"http_proxy", "http_proxy"},
		{"NO_PROXY", "no_proxy"},
		{"no_proxy", "no_proxy"},
	} {
		if v := lookupEnv(environ, s.name); v != "" {
			l.set(s.key, v, FromEnv, s.name)
		}
	}
}

// set sets one setting; where names the file, variable or flag of the value.
func (l *loader) set(key string, value any, from Origin, where string) {
	field, ok := fieldOf(reflect.ValueOf(&l.Config).Elem(), key)
	if !ok {
		l.problems.add(key, "unknown setting in %s%s", where, didYouMean(key))
		return
	}
	if _, nested := value.(map[string]any); nested {
		l.problems.add(key, "takes no keys of its own (from %s)", where)
		return
	}
	if v := reflect.ValueOf(value); v.IsValid() && v.Type().AssignableTo(field.Type()) && from == FromFlag {
		field.Set(v)
	} else if err := decode(value, field); err != nil {
		l.problems.add(key, "%s (from %s)", err, where)
		return
	}
	l.Origins[key] = from
}

// secretFiles reads every secret that has its own file.
func (l *loader) secretFiles() {
	for _, file := range Keys() {
		if key, ok := strings.CutSuffix(file, "_file"); ok {
			l.secretFile(key, file)
		}
	}
}

// secret is a field that may be given by a file.
type secret interface {
	IsZero() bool
	UnmarshalText(text []byte) error
}

// secretFile reads one secret file. The secret and its file exclude each other at
// one origin; between origins the stronger one wins.
func (l *loader) secretFile(key, file string) {
	config := reflect.ValueOf(&l.Config).Elem()
	valueField, _ := fieldOf(config, key)
	pathField, _ := fieldOf(config, file)
	value, path := valueField.Addr().Interface().(secret), pathField.String()
	switch given, named := l.Origins[key], l.Origins[file]; {
	case path == "":
		return
	case !value.IsZero() && strength(given) > strength(named):
		pathField.SetString("")
		return
	case !value.IsZero() && given == named:
		l.problems.add(key, "%s and %s are both set in the %s; keep one", key, file, given)
		return
	}
	text, err := readSmallFile(path)
	if err == nil {
		text = bytes.TrimSpace(text)
		err = value.UnmarshalText(text)
	}
	switch {
	case err != nil:
		l.problems.add(file, "%s", fileProblem(path, err))
	case len(text) == 0:
		l.problems.add(file, "%s is empty; put the %s into it, or unset the setting", path, key)
	default:
		l.Origins[key] = l.Origins[file]
	}
}

func strength(o Origin) int {
	return slices.Index([]Origin{FromDefault, FromFile, FromEnv, FromFlag}, o)
}

// Keys lists the settings in the order of Config's fields.
func Keys() []string {
	t := reflect.TypeFor[Config]()
	keys := make([]string, 0, t.NumField())
	for i := range t.NumField() {
		keys = append(keys, t.Field(i).Tag.Get("setting"))
	}
	return keys
}

func fieldOf(config reflect.Value, key string) (reflect.Value, bool) {
	i := slices.Index(Keys(), key)
	if i < 0 {
		return reflect.Value{}, false
	}
	return config.Field(i), true
}

func lookupEnv(environ []string, name string) string {
	for _, e := range slices.Backward(environ) {
		if v, ok := strings.CutPrefix(e, name+"="); ok {
			return v
		}
	}
	return ""
}

func readSmallFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxConfigBytes {
		return nil, fmt.Errorf("is larger than %s", ByteSize(maxConfigBytes))
	}
	return os.ReadFile(path)
}

// fileProblem drops "open" and "stat" from the system's error.
func fileProblem(path string, err error) string {
	var p *os.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	return fmt.Sprintf("cannot read %s: %s", path, err)
}

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
