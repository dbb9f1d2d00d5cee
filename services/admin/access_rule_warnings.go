package admin

import (
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// ruleWarnings says what a rule of a tenant with these registries may do by mistake.
func ruleWarnings(r access.Rule, registries []meta.Registry, now time.Time) []string {
	var out []string
	switch {
	case !r.Deny:
		out = allowWarnings(r, registries)
	case r.Actions.Has(access.Promote) && !r.Actions.Has(access.Push):
		out = append(out, "it takes PROMOTE and leaves PUSH: principals that may push can pull an image elsewhere and push it here")
	}
	if matchesAll(r.Repositories, someRepositories) && (len(r.Registries) == 0 || matchesAll(r.Registries, someSlugs)) {
		out = append(out, "it matches every repository of every registry of the tenant, later ones too")
	}
	for i, p := range r.Registries {
		if !slices.ContainsFunc(registries, func(one meta.Registry) bool { return oci.MatchesAny([]string{p}, one.Slug) }) {
			out = append(out, fmt.Sprintf("registries[%d]: %q matches no registry of the tenant", i, p))
		}
	}
	for i, p := range r.Repositories {
		if !couldMatch.MatchString(p) {
			out = append(out, fmt.Sprintf("repositories[%d]: %q matches no repository: names have lower case letters, digits and . _ - / only, without host and tag", i, p))
		}
	}
	if !r.Until.IsZero() && !r.Until.After(now) {
		out = append(out, "it has ended: its expire_time is over")
	}
	return out
}

// allowWarnings are those of a rule that gives rights.
func allowWarnings(r access.Rule, registries []meta.Registry) []string {
	var out []string
	if dangerous := r.Actions & (access.Push | access.Delete); dangerous != 0 && slices.Contains(r.Principals, access.AnonymousPrincipal) {
		out = append(out, "it gives everybody "+wordsOfRule(dangerous)+
			": anonymous stands for callers without a credential")
	}
	if r.Actions.Has(access.Push) && !r.Actions.Has(access.Pull) {
		out = append(out, "it gives PUSH without PULL: docker push also pulls")
	}
	if (access.Pull | access.Fill).Has(r.Actions) && publicAlready(r, registries) {
		out = append(out, "it gives nothing new: anonymous_pull of its registries lets everybody pull")
	}
	return out
}

// publicAlready reports whether everybody may pull from all registries of the rule.
func publicAlready(r access.Rule, registries []meta.Registry) bool {
	named := 0
	for _, one := range registries {
		if len(r.Registries) > 0 && !oci.MatchesAny(r.Registries, one.Slug) {
			continue
		}
		if named++; !one.Settings.AnonymousPull {
			return false
		}
	}
	return named > 0
}

// A list of patterns that matches all of these names is taken for one that matches every
// name.
var (
	someRepositories = []string{"0", "q/0", "z/q/0/x9"}
	someSlugs        = []string{"a0", "q-7", "zq9-x"}
)

func matchesAll(patterns, names []string) bool {
	return !slices.ContainsFunc(names, func(name string) bool { return !oci.MatchesAny(patterns, name) })
}

// couldMatch is the form of patterns that match the name of some repository.
var couldMatch = regexp.MustCompile(`^([a-z0-9._*?-]|\[[^\]]+\])+(/([a-z0-9._*?-]|\[[^\]]+\])+)*$`)
