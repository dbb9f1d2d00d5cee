package oci

import (
	"strings"

	"github.com/berth-registry/berth/pkg/fault"
)

// MaxTag is the maximum length of a tag.
const MaxTag = 128

// CheckTag checks that s is a tag (distribution-spec, "Pulling manifests"):
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

// ParseReference parses s as a digest if it has a colon, which no tag has, else as
// a tag. Errors are those of ParseDigest and CheckTag.
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

// String is the inverse of ParseReference.
func (r Reference) String() string {
	if r.Digest != "" {
		return r.Digest.String()
	}
	return r.Tag
}

// MaxName is the maximum length of a repository name.
const MaxName = 255

// CheckName checks that s is a repository name (distribution-spec, "Pulling
// manifests"): components of lower-case letters and digits, separated by slashes,
// and inside them by one dot, one or two underscores, or any number of hyphens.
// Anything else is fault.NameInvalid.
func CheckName(s string) error {
	if len(s) > MaxName {
		return fault.New(fault.Invalid, fault.NameInvalid, "a repository name has at most %d characters, not %d", MaxName, len(s))
	}
	for component := range strings.SplitSeq(s, "/") {
		if !isNameComponent(component) {
			return fault.New(fault.Invalid, fault.NameInvalid,
				"repository name %q must be lower-case letters and digits, separated by '/', '.', '_', '__' or '-'", clip(s))
		}
	}
	return nil
}

// isNameComponent matches [a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*.
func isNameComponent(s string) bool {
	if s == "" || !isNameChar(s[0]) || !isNameChar(s[len(s)-1]) {
		return false
	}
	for i := 1; i < len(s); i++ {
		if isNameChar(s[i]) {
			continue
		}
		end := i + 1
		for !isNameChar(s[end]) { // the last character is a nameChar, so this ends
			end++
		}
		if !isNameSeparator(s[i:end]) {
			return false
		}
		i = end
	}
	return true
}

func isNameChar(c byte) bool { return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' }

func isNameSeparator(s string) bool {
	return s == "." || s == "_" || s == "__" || strings.Trim(s, "-") == ""
}
