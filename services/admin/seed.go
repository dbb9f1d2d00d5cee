package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
)

// seed is a file of resources. Each has its id and, beside it, the fields that
// the API takes; what a file does not name stays as it is.
type seed struct {
	Tenants   []seedTenant   `yaml:"tenants"`
	Providers []seedProvider `yaml:"identity_providers"` // the operator's
}

// seedFields are fields of a resource by their names in the API.
type seedFields map[string]any

func (f seedFields) has(field string) bool {
	_, ok := f[field]
	return ok
}

// Limits of what a seed file holds.
const (
	maxSeed   = 1 << 20 // bytes
	minSecret = 32      // characters: only their hash is kept, so they must not be guessable
)

// parseSeed reads one YAML document.
func parseSeed(text []byte) (seed, error) {
	if len(text) > maxSeed {
		return seed{}, fmt.Errorf("it has more than %d bytes", maxSeed)
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	var tree seed
	if err := d.Decode(&tree); err != nil && !errors.Is(err, io.EOF) {
		return seed{}, err
	}
	if err := d.Decode(&struct{}{}); !errors.Is(err, io.EOF) {
		return seed{}, errors.New("it has more than one document")
	}
	return tree, nil
}

// readSeed reads a seed file. Its errors name the file, and the line where there
// is one.
func readSeed(file string) (*seedFile, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("open the seed file: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxSeed+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("read the seed file: %w", err)
	}
	read := &seedFile{name: file}
	if read.seed, err = parseSeed(text); err == nil {
		err = yaml.Unmarshal(text, &read.root)
	}
	if err != nil {
		return nil, yamlError(file, err)
	}
	return read, nil
}

// readSecret reads a file that may be relative to dir.
func readSecret(dir, file string) (string, error) {
	if !filepath.IsAbs(file) {
		file = filepath.Join(dir, file)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("the secret file cannot be read: %w; create it, or correct the path, which starts at the directory of the seed file", err)
	}
	return strings.TrimSpace(string(text)), nil
}

// decoded is the message of a resource, and which of its fields are given.
func decoded[M proto.Message](f seedFields) (M, *fieldmaskpb.FieldMask, error) {
	var none M
	m := none.ProtoReflect().New().Interface().(M)
	mask, err := f.decode(m)
	return m, mask, err
}

// decode reads the fields into the resource's message and says which they were. What
// is never shown, such as a password, does not stand in the file itself.
func (f seedFields) decode(m proto.Message) (*fieldmaskpb.FieldMask, error) {
	descriptor := m.ProtoReflect().Descriptor()
	known := slices.DeleteFunc(settableFields(descriptor), func(name string) bool {
		return hasBehavior(descriptor.Fields().ByName(protoreflect.Name(name)), annotations.FieldBehavior_INPUT_ONLY)
	})
	mask := &fieldmaskpb.FieldMask{Paths: slices.Sorted(maps.Keys(f))}
	for _, field := range mask.Paths {
		if !slices.Contains(known, field) {
			return nil, unknownField(clipped(field), field, append([]string{"id"}, known...))
		}
	}
	if len(f) == 0 {
		return mask, nil
	}
	text, err := json.Marshal(f)
	if err != nil {
		return nil, err
	}
	if text, err = readInput(text, m); err != nil {
		return nil, err
	}
	if err := protojson.Unmarshal(text, m); err != nil {
		return nil, err
	}
	return mask, nil
}
