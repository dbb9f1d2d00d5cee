package oci

import (
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/berth-registry/berth/pkg/fault"
)

// Descriptor points to content (image-spec, descriptor.md). Any JSON package
// encodes it; only ParseManifest and go-json-experiment decode it strictly.
type Descriptor struct {
	MediaType    string            `json:"mediaType"`
	Digest       Digest            `json:"digest"`
	Size         int64             `json:"size"` // in bytes, as its author claims
	URLs         []string          `json:"urls,omitempty"`
	ArtifactType string            `json:"artifactType,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
}

// Foreign reports that a registry need not hold the content: it must not be
// distributed, or is fetched from other URLs, which a registry never follows.
func (d Descriptor) Foreign() bool {
	return len(d.URLs) > 0 || foreignLayers[d.MediaType]
}

// descriptorMembers is a descriptor as written. Members that Berth does not use
// must be well formed too, so that clients can read an accepted manifest.
type descriptorMembers struct {
	MediaType    string             `json:"mediaType"`
	Digest       string             `json:"digest"`
	Size         *int64             `json:"size"`
	URLs         []string           `json:"urls"`
	ArtifactType string             `json:"artifactType"`
	Annotations  map[string]string  `json:"annotations"`
	Data         []byte             `json:"data"`
	Platform     *platformMembers   `json:"platform"`
	Other        map[string]skipped `json:",embed"`
}

type platformMembers struct {
	Architecture string             `json:"architecture"`
	OS           string             `json:"os"`
	OSVersion    string             `json:"os.version"`
	OSFeatures   []string           `json:"os.features"`
	Variant      string             `json:"variant"`
	Other        map[string]skipped `json:",embed"`
}

var (
	descriptorNames = []string{"mediaType", "digest", "size", "urls", "artifactType", "annotations", "data", "platform"}
	platformNames   = []string{"architecture", "os", "os.version", "os.features", "variant"}
)

// UnmarshalJSONFrom decodes and checks: media type, digest and size are required,
// ParseDigest accepts the digest, the size is not negative, and no member is
// misspelt.
func (d *Descriptor) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	var m descriptorMembers
	if err := json.UnmarshalDecode(dec, &m); err != nil {
		return err
	}
	if err := checkSpelling(m.Other, descriptorNames); err != nil {
		return err
	}
	if m.Platform != nil {
		if err := checkSpelling(m.Platform.Other, platformNames); err != nil {
			return err
		}
	}
	digest, err := ParseDigest(m.Digest)
	switch {
	case err != nil:
		return fault.New(fault.Invalid, fault.ManifestInvalid, "%s", fault.From(err).Message)
	case m.MediaType == "":
		return fault.New(fault.Invalid, fault.ManifestInvalid, "a descriptor has no mediaType")
	case m.Size == nil || *m.Size < 0:
		return fault.New(fault.Invalid, fault.ManifestInvalid, "a descriptor has no size, or a negative one")
	}
	*d = Descriptor{
		MediaType:    m.MediaType,
		Digest:       digest,
		Size:         *m.Size,
		URLs:         m.URLs,
		ArtifactType: m.ArtifactType,
		Annotations:  m.Annotations,
	}
	return nil
}

// checkSpelling refuses a member whose name differs from a known one only in case.
// Some decoders, such as Go's encoding/json, read "Layers" as "layers" and would
// see content that Berth does not check.
func checkSpelling(others map[string]skipped, known []string) error {
	for name := range others {
		for _, k := range known {
			if strings.EqualFold(name, k) {
				return fault.New(fault.Invalid, fault.ManifestInvalid, "member %q must be spelt %q", clip(name), k)
			}
		}
	}
	return nil
}

// skipped is a JSON value that is checked but not kept.
type skipped struct{}

func (*skipped) UnmarshalJSONFrom(dec *jsontext.Decoder) error { return dec.SkipValue() }
