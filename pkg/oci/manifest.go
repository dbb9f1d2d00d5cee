package oci

import (
	"errors"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/berth-registry/berth/pkg/fault"
)

// The limits of a manifest.
const (
	MaxManifest    = 4 << 20 // bytes; the least that the distribution-spec requires
	MaxDescriptors = 10_000  // entries of layers, blobs or manifests
	maxType        = 255     // bytes of a referrer's type: two names of 127 (RFC 6838, section 4.2)
	maxDepth       = 32      // nested objects and arrays
	maxValues      = 150_000 // members and elements at all levels, counted by commas
)

// Manifest is the parsed part of a manifest that a registry needs. It is never
// encoded: the original bytes are stored and served.
type Manifest struct {
	MediaType    string
	ArtifactType string // as written; see ReferrerType
	Annotations  map[string]string
	Subject      *Descriptor
	Config       *Descriptor  // of an image manifest
	Blobs        []Descriptor // config first, then layers or blobs, in order, repeated where the manifest repeats them
	Children     []Descriptor // the entries of an index that are manifests; others, as in BuildKit's caches, are in Blobs
}

// ReferrerType is the artifact type under which the manifest is listed as a
// referrer (distribution-spec, "Listing Referrers"): its own, else the media
// type of its config. It may be empty for an index.
func (m *Manifest) ReferrerType() string {
	if m.ArtifactType == "" && m.Config != nil {
		return m.Config.MediaType
	}
	return m.ArtifactType
}

// document has the members of all kinds of manifests, to detect a document of two
// kinds (CVE-2021-41190).
type document struct {
	SchemaVersion int                `json:"schemaVersion"`
	MediaType     string             `json:"mediaType"`
	ArtifactType  string             `json:"artifactType"`
	Config        *Descriptor        `json:"config"`
	Layers        []Descriptor       `json:"layers"`
	Blobs         []Descriptor       `json:"blobs"`
	Manifests     []Descriptor       `json:"manifests"`
	Subject       *Descriptor        `json:"subject"`
	Annotations   map[string]string  `json:"annotations"`
	FSLayers      jsontext.Value     `json:"fsLayers"`
	Other         map[string]skipped `json:",embed"`
}

var documentNames = []string{
	"schemaVersion", "mediaType", "artifactType", "config", "layers", "blobs", "manifests", "subject", "annotations", "fsLayers",
}

// ParseManifest parses a manifest with the given Content-Type, which may be empty
// if the document has a mediaType. It takes OCI image manifests and indexes, Docker
// schema 2 manifests and lists, and OCI artifact manifests.
//
// It accepts only documents that every decoder reads alike: names in their exact
// case and not repeated, one value, valid UTF-8, at most 32 levels deep, and of one
// kind, that of Content-Type. Else it returns fault.ManifestInvalid, of kind
// TooLarge beyond MaxManifest or MaxDescriptors.
func ParseManifest(contentType string, payload []byte) (*Manifest, error) {
	if len(payload) > MaxManifest {
		return nil, tooLarge("a manifest has at most %d bytes", MaxManifest)
	}
	if err := checkShape(payload); err != nil {
		return nil, err
	}
	var doc document
	if err := json.Unmarshal(payload, &doc); err != nil {
		return nil, decodeError(err)
	}
	if err := checkSpelling(doc.Other, documentNames); err != nil {
		return nil, err
	}
	mediaType, err := doc.resolveType(contentType)
	if err != nil {
		return nil, err
	}
	if max(len(doc.Layers), len(doc.Blobs), len(doc.Manifests)) > MaxDescriptors {
		return nil, tooLarge("a manifest has at most %d layers, blobs or manifests", MaxDescriptors)
	}
	return doc.manifest(mediaType)
}

// resolveType is the media type of the document.
func (doc *document) resolveType(contentType string) (string, error) {
	declared, _, _ := strings.Cut(contentType, ";")
	declared = strings.ToLower(strings.TrimSpace(declared))
	switch {
	case declared == "" && doc.MediaType == "":
		return "", invalid("neither Content-Type nor mediaType says what the manifest is")
	case declared == "":
		return doc.MediaType, nil
	case doc.MediaType != "" && doc.MediaType != declared:
		return "", invalid("Content-Type %q and mediaType %q differ", clip(declared), clip(doc.MediaType))
	default:
		return declared, nil
	}
}

// manifest reads the document as the given media type, which allows some
// members and forbids those of the other kinds.
func (doc *document) manifest(mediaType string) (*Manifest, error) {
	m := &Manifest{
		MediaType:    mediaType,
		ArtifactType: doc.ArtifactType,
		Annotations:  doc.Annotations,
		Subject:      doc.Subject,
	}
	isImage, isIndex, isArtifact := false, false, false
	switch mediaType {
	case MediaTypeImageManifest, MediaTypeDocker:
		isImage = true
	case MediaTypeImageIndex, MediaTypeDockerList:
		isIndex = true
	case MediaTypeArtifact:
		isArtifact = true
	case mediaTypeSchema1, mediaTypeSchema1Signed:
		return nil, invalid("Docker schema 1 manifests are not supported; push the image with a current client")
	default:
		return nil, invalid("media type %q is not one of a manifest", clip(mediaType))
	}
	switch {
	case isArtifact && doc.MediaType == "":
		return nil, invalid("an artifact manifest must have a mediaType")
	case !isArtifact && doc.SchemaVersion != 2:
		return nil, invalid("schemaVersion must be 2")
	case doc.FSLayers != nil,
		doc.Manifests != nil && !isIndex,
		doc.Blobs != nil && !isArtifact,
		(doc.Config != nil || doc.Layers != nil) && !isImage:
		return nil, invalid("the manifest is ambiguous: it has members of another kind than %q", mediaType)
	case isImage && doc.Config == nil:
		return nil, invalid("an image manifest must have a config")
	}
	if isImage {
		m.Config = doc.Config
		m.Blobs = append(make([]Descriptor, 0, 1+len(doc.Layers)), *doc.Config)
	}
	m.Blobs = append(append(m.Blobs, doc.Layers...), doc.Blobs...)
	for _, d := range doc.Manifests {
		if isManifest(d.MediaType) {
			m.Children = append(m.Children, d)
		} else {
			m.Blobs = append(m.Blobs, d)
		}
	}
	if t := m.ReferrerType(); len(t) > maxType || strings.ContainsRune(t, 0) {
		return nil, invalid("artifactType, or else the mediaType of the config, has at most %d bytes and no NUL", maxType)
	}
	return m, nil
}

// checkShape bounds nesting and the number of values before anything is decoded, as
// each may cost many times its own size in memory. The decoder refuses invalid
// JSON.
func checkShape(payload []byte) error {
	depth, values, inString := 0, 0, false
	for i := 0; i < len(payload); i++ {
		switch c := payload[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			depth--
		case c == ',':
			values++
		}
		if depth > maxDepth {
			return invalid("the manifest is nested more than %d levels deep", maxDepth)
		}
		if values > maxValues {
			return tooLarge("a manifest has at most %d members and elements", maxValues)
		}
	}
	return nil
}

// decodeError says where decoding stopped: at an error of this package, or at
// something that is not strict JSON of the right types.
func decodeError(err error) error {
	var (
		where     jsontext.Pointer
		semantic  *json.SemanticError
		syntactic *jsontext.SyntacticError
	)
	if errors.As(err, &syntactic) {
		if errors.Is(err, jsontext.ErrDuplicateName) {
			return invalid("the manifest repeats the member %q", clip(string(syntactic.JSONPointer)))
		}
		return fault.Wrap(err, fault.Invalid, fault.ManifestInvalid, "the manifest is not valid JSON at byte %d", syntactic.ByteOffset)
	}
	if errors.As(err, &semantic) {
		where = semantic.JSONPointer
	}
	var own *fault.Error
	if errors.As(err, &own) {
		return invalid("in the manifest at %q: %s", clip(string(where)), own.Message)
	}
	return fault.Wrap(err, fault.Invalid, fault.ManifestInvalid, "the manifest has a value of the wrong type at %q", clip(string(where)))
}

func invalid(format string, args ...any) error {
	return fault.New(fault.Invalid, fault.ManifestInvalid, format, args...)
}

func tooLarge(format string, args ...any) error {
	return fault.New(fault.TooLarge, fault.ManifestInvalid, format, args...)
}
