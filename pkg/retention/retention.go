// Package retention decides what of a repository goes by age, pulls and version, and what
// stays. It knows neither a store nor a clock: the same content at the same moment always
// has the same result.
package retention

import (
	"time"

	"github.com/berth-registry/berth/pkg/tagrule"
)

// Policy is an ordered list of rules. The first one that matches a tag, or an untagged
// manifest, decides about it; what no rule matches stays.
type Policy struct {
	Rules []Rule

	// MayDeleteProtected lets it delete what a tag rule protects from being deleted.
	MayDeleteProtected bool
}

// Action is what a rule does with what it matches.
type Action string

// The actions.
const (
	Keep   Action = "KEEP"
	Delete Action = "DELETE"
)

// Rule matches what its selectors select and all of its conditions hold for. Neither an
// empty selector nor a condition of zero narrows anything.
type Rule struct {
	Name   string // for people: which rule decided
	Action Action

	Selector
	Conditions
}

// Selector says what a rule looks at: tags, or manifests without any.
type Selector struct {
	Untagged bool            // manifests that no tag, no index and no subject leads to
	Tags     []string        // name patterns (oci.CheckPattern)
	Classes  []tagrule.Class // of the tag without its variant: 1.2.3-alpine is a RELEASE
	Variants []string        // name patterns; "none" for tags that have no variant
}

// Conditions hold for some of what a selector selects. Versions and Newest count among
// all of it that no rule before deletes.
type Conditions struct {
	Versions     *Window
	Newest       int           // it is one of so many that were pushed last
	OlderThan    time.Duration // it was pushed at least so long ago
	YoungerThan  time.Duration // it was pushed less long ago
	PulledWithin time.Duration // it was pulled or pushed less long ago
	NotPulledFor time.Duration // it was neither pulled nor pushed for at least so long
	Released     bool          // a release of its variant is there that is at least as high, without the pre-release
}

// NoVariant is the entry of Selector.Variants for tags without a variant.
const NoVariant = "none"

// All is a number of a Window that has no bound.
const All = -1

// Window is a part of the versions of a repository, counted from the highest. Each class
// and each variant is counted by itself, so that 2.0.0-RC1 does not push 1.0.0 out, nor
// 1.2.3-alpine 1.2.3. With Majors 5, Minors 3 and Patches All it contains the last
// version of each of the last 5 majors, the last version of each of the last 3 minors of
// the last major, and all patches of the last minor.
type Window struct {
	Majors  int // of so many majors the last version
	Minors  int // of so many minors the last version, in each of the last MinorsOf majors
	Patches int // so many patches, in each of the last PatchesOf minors of these majors

	MinorsOf, PatchesOf int // 0 is 1: the last one
}
