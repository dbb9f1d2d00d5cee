package admin

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/berth-registry/berth/pkg/fault"
)

// seedError is what is wrong with one value of a seed file.
type seedError struct {
	path string // tenants[0].upstreams[1].url
	err  error
}

func (e *seedError) Error() string {
	message := e.err.Error()
	if f := fault.From(e.err); !f.Kind.Failure() {
		message = f.Message
	}
	return e.path + ": " + message
}

func (e *seedError) Unwrap() error { return e.err }

// within says that err is about a value inside of path: the one that it names, or
// that of path itself.
func within(path string, err error) error {
	if err == nil {
		return nil
	}
	var inner *seedError
	if errors.As(err, &inner) {
		return &seedError{path + "." + inner.path, inner.err}
	}
	if field := fieldInSeed(fault.From(err).Field); field != "" {
		path += "." + field
	}
	return &seedError{path, err}
}

// fieldInSeed is the field at fault as it is written in a seed file; empty for
// those that a file does not have.
func fieldInSeed(field string) string {
	for _, prefix := range bodyFields {
		field = strings.TrimPrefix(field, prefix)
	}
	switch {
	case strings.HasSuffix(field, "_id"):
		return "id"
	case field == "name" || field == "parent" || field == "etag":
		return ""
	default:
		return field
	}
}

// seedFile is a seed with where each value stands.
type seedFile struct {
	seed
	name string
	root yaml.Node
}

// locate puts file and line before an error.
func (f *seedFile) locate(err error) error {
	var at *seedError
	if err == nil || !errors.As(err, &at) {
		return err
	}
	return fmt.Errorf("%s:%d: %w", f.name, lineOf(&f.root, at.path), err)
}

// pathStep is a key or an index of a path.
var pathStep = regexp.MustCompile(`[^.\[\]]+`)

// lineOf is the line of the value at the path, or of the innermost one around it
// that is in the file.
func lineOf(n *yaml.Node, path string) int {
	if n.Kind == yaml.DocumentNode && len(n.Content) > 0 {
		n = n.Content[0]
	}
	line := max(n.Line, 1)
	for _, step := range pathStep.FindAllString(path, -1) {
		for n.Kind == yaml.AliasNode {
			n = n.Alias
		}
		var next *yaml.Node
		switch n.Kind {
		case yaml.MappingNode:
			for i := 0; i+1 < len(n.Content); i += 2 {
				if n.Content[i].Value == step {
					next, line = n.Content[i+1], n.Content[i].Line
				}
			}
		case yaml.SequenceNode:
			if i, err := strconv.Atoi(step); err == nil && i < len(n.Content) {
				next = n.Content[i]
				line = next.Line
			}
		}
		if next == nil {
			return line
		}
		n = next
	}
	return line
}

var (
	yamlLine    = regexp.MustCompile(`^(?:yaml: )?line (\d+): (.*)$`)
	yamlUnknown = regexp.MustCompile(`^field (\S+) not found in type .*$`)
)

// yamlError says what is wrong with the form of a file in lines of their own,
// each with file and line.
func yamlError(file string, err error) error {
	lines := []string{err.Error()}
	var wrong *yaml.TypeError
	if errors.As(err, &wrong) {
		lines = wrong.Errors
	}
	var out []error
	for _, line := range lines {
		m := yamlLine.FindStringSubmatch(line)
		if m == nil {
			out = append(out, fmt.Errorf("%s: %s", file, strings.TrimPrefix(line, "yaml: ")))
			continue
		}
		what := m[2]
		if unknown := yamlUnknown.FindStringSubmatch(what); unknown != nil {
			what = fmt.Sprintf("unknown key %q", unknown[1])
		}
		what, _, _ = strings.Cut(what, " into admin.")
		out = append(out, fmt.Errorf("%s:%s: %s", file, m[1], what))
	}
	return errors.Join(out...)
}
