package oci

import (
	"strings"

	"github.com/berth-registry/berth/pkg/fault"
)

// MaxTag is the most characters a tag has.
const MaxTag = 128

// CheckTag says whether s is a tag (distribution-spec, "Pulling manifests"):
// letters, digits, '_', '.' and '-', the first not '.' or '-'. Anything else is
// fault.TagInvalid.
func CheckTag(s string) error {
	if s == "" || len(s) > MaxTag {
		return fault.New(fault.Invalid, fault.TagInvalid, "a tag has 1 to %d characters, not %d", MaxTag, len(s))
	}
	for i := range len(s) {
		c := s[i]
		ok := isNameChar(c) || 'A' <= c && c <= 'Z' || c == '_' || i > 0 && (c == '.' || c == '-')
		if !ok {
			return fault.New(fault.Invalid, fault.TagInvalid,
				"tag %q must be letters, digits, '_', '.' and '-', and not begin with '.' or '-'", clip(s))
		}
	}
	return nil
}

// Reference names a manifest in a repository: by tag or by digest, exactly one
// of the two.
type Reference struct {
	Tag    string
	Digest Digest
}

// ParseReference takes what has a colon for a digest, which no tag has, and
// all else for a tag. Errors are those of ParseDigest and CheckTag.
func ParseReference(s string) (Reference, error) {
	if strings.Contains(s, ":") {
		d, err := ParseDigest(s)
		return Reference{Digest: d}, err
	}
	if err := CheckTag(s); err != nil {
		return Reference{}, err
	}
	return Reference{Tag: s}, nil
}

// String is what ParseReference takes.
func (r Reference) String() string {
	if r.Digest != "" {
		return r.Digest.String()
	}
	return r.Tag
}
