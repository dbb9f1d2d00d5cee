package access

import (
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/berth-registry/berth/pkg/oci"
)

// tree finds the patterns that may match a repository by the folders of its name, so that a
// decision does not grow with the number of rules.
type tree struct {
	inside  map[string][]pattern // by literalFolder
	folders map[Actions][]string // those of patterns that give one of visible, sorted
}

func newTree(rules []*Rule) *tree {
	t := &tree{inside: map[string][]pattern{}, folders: map[Actions][]string{}}
	for _, r := range rules {
		for _, text := range r.Repositories {
			folder := literalFolder(text)
			t.inside[folder] = append(t.inside[folder], pattern{text, matchesAll(text, folder), r})
			for _, a := range visible {
				if !r.Deny && r.Actions.Has(a) && (folder == "" || oci.CheckName(folder) == nil) {
					t.folders[a] = append(t.folders[a], folder)
				}
			}
		}
	}
	for a, folders := range t.folders {
		slices.Sort(folders)
		t.folders[a] = slices.Compact(folders)
	}
	return t
}

// pattern is one pattern of a rule.
type pattern struct {
	text string
	all  bool // it matches its folder and all names in it
	rule *Rule
}

func (p *pattern) matches(repository string) bool {
	return p.all || doublestar.MatchUnvalidated(p.text, repository)
}

// literalFolder is the longest part of a pattern, up to a slash, that only matches itself:
// all names that the pattern matches are this folder, or in it.
func literalFolder(text string) string {
	first := strings.IndexAny(text, "*?[")
	if first < 0 {
		return text
	}
	return text[:max(strings.LastIndexByte(text[:first], '/'), 0)]
}

// matchesAll reports whether a pattern matches its folder and all names in it.
func matchesAll(text, folder string) bool {
	return text == "**" || folder != "" && text == folder+"/**"
}

// MaxSlowPatterns is how many patterns with a * ? or [ inside of one folder a tenant may
// have, but for those that match all in it: each decision about a name in that folder tries
// them all.
const MaxSlowPatterns = 256

// Crowded returns a folder in which rules have more than MaxSlowPatterns, and whether one
// was found. The folder is empty for patterns that begin with a * ? or [.
func Crowded(rules []Rule) (string, bool) {
	slow := map[string]int{}
	for _, r := range rules {
		for _, text := range r.Repositories {
			folder := literalFolder(text)
			if folder == text || matchesAll(text, folder) {
				continue
			}
			if slow[folder]++; slow[folder] > MaxSlowPatterns {
				return folder, true
			}
		}
	}
	return "", false
}
