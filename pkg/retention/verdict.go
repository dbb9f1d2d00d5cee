package retention

import "github.com/berth-registry/berth/pkg/oci"

// Reason is what a verdict follows from.
type Reason string

// The reasons.
const (
	ByRule      Reason = "RULE"      // Verdict.Rule matched
	ByDefault   Reason = "NO_RULE"   // no rule matched, so it stays
	ByTagRule   Reason = "TAG_RULE"  // Verdict.Rule would delete it, but Verdict.TagRule protects it
	ByTag       Reason = "TAG"       // it shares the verdict of a tag that points to it, Verdict.Via
	ByIndex     Reason = "INDEX"     // of an index that lists it
	BySubject   Reason = "SUBJECT"   // of what it accompanies
	ByCompanion Reason = "COMPANION" // it stays, since a companion that a tag rule protects would go with it
)

// Verdict is whether a tag or a manifest goes, and why.
type Verdict struct {
	Goes    bool
	Reason  Reason
	Rule    string // the rule of the policy that decided, also about what Via names
	TagRule string
	Via     string // a tag or digest
}

// follow is the verdict about what shares this one.
func (v Verdict) follow(r Reason, via string) Verdict {
	v.Reason, v.Via = r, via
	return v
}

// Result is what a policy says of a repository.
type Result struct {
	Tags      []Verdict // in the order of Content.Tags
	Manifests []Verdict // in the order of Content.Manifests
	Deletions []Deletion
	Bytes     int64 // what the deletions leave without a manifest of the repository that names it

	graph *graph
}

// Deletion is one step of what goes: a tag whose manifest stays, or a manifest with its
// tags. An index comes before its children and a subject before its companions, so that
// the steps can end after each.
type Deletion struct {
	Digest oci.Digest
	Tag    string   // only this tag; empty: the manifest
	Tags   []string // that go with the manifest
	Rule   string
	Bytes  int64 // of it alone, after the deletions before
	// Group, of the first of those that belong together, is how many they are: an index or
	// image, what is below it, and what accompanies these. A run ends before or after them.
	Group int
}
