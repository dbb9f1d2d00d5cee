package people

import (
	"crypto/sha256"
	"encoding/base32"
	"strconv"
	"strings"

	"github.com/berth-registry/berth/pkg/tenant"
)

// Lengths of the IDs that people get.
const (
	maxSlug    = 31
	suffixSize = 4
)

// slugs are the IDs that a person may get, in order: the name made an ID, and the same with a
// suffix that is the person's own, where the first is another account's.
func slugs(name string, provider int64, subject string) []string {
	base := slugOf(name)
	sum := sha256.Sum256([]byte(strconv.FormatInt(provider, 10) + "/" + subject))
	suffix := strings.ToLower(base32.StdEncoding.EncodeToString(sum[:]))[:suffixSize]
	var found []string
	for _, slug := range []string{base, strings.TrimRight(base[:min(len(base), maxSlug-suffixSize-1)], "-") + "-" + suffix} {
		if tenant.CheckSlug(slug) == nil {
			found = append(found, slug)
		}
	}
	return found
}

// slugOf is the name in lower case, with hyphens for all that is neither letter nor digit.
func slugOf(name string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(name) {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			b.WriteRune(r)
		case !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	slug := strings.Trim(b.String(), "-")
	if slug == "" || slug[0] < 'a' {
		slug = strings.TrimRight("u-"+slug, "-")
	}
	return strings.TrimRight(slug[:min(len(slug), maxSlug)], "-")
}
