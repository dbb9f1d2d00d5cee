package meta

import (
	"context"
	"strings"
	"unicode/utf8"

	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

// SearchKind is what of a tenant's content a term is. Its order is that of results of
// one rank; its numbers are stored.
type SearchKind int

// The kinds of terms.
const (
	SearchRepository   SearchKind = 1 + iota // the name of a repository
	SearchTag                                // a tag
	SearchDigest                             // the digest of a manifest, in hexadecimal
	SearchArtifactType                       // the artifact type of a manifest
	SearchAnnotation                         // an annotation of a manifest, as key=value
	SearchLabel                              // a label of an image, as key=value
	SearchPlatform                           // a platform of an image or index
)

// SearchKinds are all kinds, in their order.
var SearchKinds = []SearchKind{SearchRepository, SearchTag, SearchDigest, SearchArtifactType, SearchAnnotation, SearchLabel, SearchPlatform}

// Partly reports whether terms of the kind are found by a part of them. Others are found
// by how they begin.
func (k SearchKind) Partly() bool { return k != SearchDigest }

const (
	// LongestSearchTerm is how many bytes of a term are indexed.
	LongestSearchTerm = 256
	// SearchGram is how many characters a text needs to be found inside of terms. A
	// shorter one finds terms that begin with it.
	SearchGram = 3
)

// SearchTerm is a text as it is indexed and looked for: in lower case, and clipped. What is
// no character, and NUL, which Postgres cannot store, becomes U+FFFD.
func SearchTerm(text string) string {
	text = strings.ToLower(strings.ReplaceAll(strings.ToValidUTF8(text, "\ufffd"), "\x00", "\ufffd"))
	if len(text) <= LongestSearchTerm {
		return text
	}
	text = text[:LongestSearchTerm]
	for !utf8.ValidString(text) {
		text = text[:len(text)-1]
	}
	return text
}

// SearchRank is how well a term matches. Lower ones come first.
type SearchRank int

// The ranks of results.
const (
	SearchExact SearchRank = iota
	SearchPrefix
	SearchPart
)

// SearchPosition is a place in the results of a query: after an entry. Its zero value is
// the beginning.
type SearchPosition struct {
	Rank    SearchRank `json:"rank"`
	Kind    SearchKind `json:"kind"`
	Term    string     `json:"term"`
	Repo    int64      `json:"repo"`
	Subject string     `json:"subject"`
}

// SearchQuery looks for terms of a tenant's hosted repositories.
type SearchQuery struct {
	Text  string       // any; SearchTerm is applied
	Kinds []SearchKind // in ascending order
	After SearchPosition
	Size  int // entries that are read at most, of which some may be gone
}

// SearchHit is an entry that matches, and whose repository is there now.
type SearchHit struct {
	At         SearchPosition
	Registry   string     // slug
	Repository string     // name
	Tag        string     // of a tag
	Digest     oci.Digest // of a tag or manifest
}

// SearchPage is a part of the results.
type SearchPage struct {
	Hits []SearchHit
	// Next is where the search stopped; More says that there may be results after it. A
	// page may be short, or empty, and have more.
	Next SearchPosition
	More bool
}

// SearchText is what a manifest is found by, besides its digest.
type SearchText struct {
	Kind SearchKind
	Text string
}

// MostSearchText is how many bytes of the texts of a manifest are indexed.
const MostSearchText = 8 << 10

// Describe returns the texts of a manifest. After an error, those stay that the manifest has.
type Describe func(ctx context.Context, r Repo, m Manifest) ([]SearchText, error)

// Search finds what repositories hold by its names. The index follows the content: what
// is pushed is found once it is indexed; what is deleted is not found from then on.
type Search interface {
	// Search returns a part of the results, in order of rank, kind, term and repository.
	// What it costs is bounded by Size, whatever there is.
	Search(ctx context.Context, t tenant.ID, q SearchQuery) (SearchPage, error)
	// IndexSearch indexes up to limit changes of one tenant. Without changes it indexes content
	// that is older than the index. It returns how many; 0 means that nothing is due. It
	// describes manifests before its transaction; nil describes none.
	IndexSearch(ctx context.Context, limit int, describe Describe) (int, error)
	// RebuildSearch has IndexSearch compare all of the index with the content. Searches
	// continue to use it meanwhile.
	RebuildSearch(ctx context.Context, by Cause) error
	// SearchComplete reports whether all content is indexed, but for changes.
	SearchComplete(ctx context.Context) (bool, error)
}
