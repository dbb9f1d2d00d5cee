package workload_test

import (
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/workload"
	"github.com/berth-registry/berth/tools/testserver"
)

const github = "https://token.actions.githubusercontent.com"

// TestV47_ConditionsAreCheckedWhenTheyAreWritten.
func TestV47_ConditionsAreCheckedWhenTheyAreWritten(t *testing.T) {
	for _, good := range []string{
		fromMain,
		`claims.sub == "system:serviceaccount:web:builder"`,
		`claims["kubernetes.io"].namespace == "web"`,
		`claims.project_path in ["acme/web", "acme/api"]`,
		`claims.ref.startsWith("refs/tags/v") && claims.repository_owner == "acme"`,
		`claims.ref.matches("^refs/heads/(main|release-[0-9]+)$")`,
		`claims.groups.exists(g, g == "builders")`,
		`has(claims.environment) && claims.environment == "production"`,
		`int(claims.run_attempt) < 4 && claims.repository == "acme/web"`,
	} {
		if err := workload.Check(github, good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for bad, says := range map[string]string{
		"":                                 "missing",
		" \n":                              "missing",
		"claims.":                          "not an expression",
		"claims.repository":                "bool",
		`"acme/web"`:                       "bool",
		`claim.ref == "x"`:                 "undeclared",
		`claims.ref = "x"`:                 "not an expression",
		`unknown(claims.ref)`:              "undeclared",
		"true":                             "any token",
		"1 == 1":                           "any token",
		"false || true":                    "any token",
		`claims.ref == "x" || true`:        "any token",
		"claims == claims":                 "any token",
		`!has(claims.ref)`:                 "any token",
		`has(claims.iss)`:                  "any token",
		`claims.iss == "` + github + `"`:   "any token",
		`claims.sub != "repo:evil/evil"`:   "any token",
		`claims.sub.matches(".*")`:         "any token",
		strings.Repeat(" ", 5000) + "true": "maximum of 4096",
		`claims.a.exists(x, claims.b.exists(y, claims.c.exists(z, x + y == z)))`: "cost",
		`claims.ref.matches("(a{100}){100}")`:                                    "repeat count",
		strings.Repeat("(", 500) + "true" + strings.Repeat(")", 500):             "not an expression",
		strings.Repeat(`[`, 300) + strings.Repeat(`]`, 300) + " == claims.a":     "not an expression",
	} {
		err := workload.Check(github, bad)
		if f := fault.From(err); err == nil || f.Kind != fault.Invalid || !strings.Contains(f.Message, says) {
			t.Errorf("%.60s: %v, want %q", bad, err, says)
		}
	}
}

// TestV47_WhatAConditionCannotReadIsFalse: a missing claim, one of another type, and one that
// costs too much.
func TestV47_WhatAConditionCannotReadIsFalse(t *testing.T) {
	many := make([]any, 3000)
	for i := range many {
		many[i] = strings.Repeat("a", 200)
	}
	for _, c := range []struct {
		text   string
		claims map[string]any
		want   bool
	}{
		{fromMain, map[string]any{"repository": "acme/web", "ref": "refs/heads/main", "event_name": "push"}, true},
		{fromMain, map[string]any{"repository": "acme/web", "ref": "refs/heads/main"}, false},
		{fromMain, map[string]any{}, false},
		{fromMain, nil, false},
		{fromMain, map[string]any{"repository": 7.0, "ref": []any{}, "event_name": nil}, false},
		{`claims.n == 7`, map[string]any{"n": 7.0}, true},
		{`claims.n < 7`, map[string]any{"n": "6"}, false},
		{`claims.a.b.c == "x"`, map[string]any{"a": map[string]any{"b": map[string]any{"c": "x"}}}, true},
		{`claims.a.b.c == "x"`, map[string]any{"a": "b"}, false},
		{`int(claims.n) > 0`, map[string]any{"n": "nine"}, false},
		{`claims.l.exists(x, x == "b")`, map[string]any{"l": []any{"a", "b"}}, true},
		{`claims.l.all(x, x.matches("^(a|b)+$"))`, map[string]any{"l": []any{"a", "b"}}, true},
		{`claims.l.all(x, x.matches("^(a|b)+$"))`, map[string]any{"l": many}, false},
		{`claims.ref.matches("^(a+)+$")`, map[string]any{"ref": strings.Repeat("a", 10_000) + "b"}, false},
	} {
		compiled, err := workload.Compile(c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if got, err := compiled.Holds(t.Context(), c.claims); got != c.want {
			t.Errorf("%s: %t, %v", c.text, got, err)
		}
	}
}

// TestV41_ConditionsTellJobsFromOthers of the same issuer: forks, pull requests, other branches
// and other repositories.
func TestV41_ConditionsTellJobsFromOthers(t *testing.T) {
	w := newWorld(t, loopback)
	w.trusts("acme", meta.Trust{Condition: fromMain})
	w.wantIn(w.token(testserver.GitHub(host, "acme/web", "main")))
	forked := testserver.PullRequest(host, "acme/web")
	forked["actor"], forked["head_ref"] = "mallory", "main"
	for what, claims := range map[string]map[string]any{
		"a fork":                      testserver.GitHub(host, "mallory/web", "main"),
		"a pull request":              testserver.PullRequest(host, "acme/web"),
		"a fork's pull request":       forked,
		"another repository":          testserver.GitHub(host, "acme/api", "main"),
		"a repository like it":        testserver.GitHub(host, "acme/web2", "main"),
		"another branch":              testserver.GitHub(host, "acme/web", "dev"),
		"a cluster's service account": testserver.Kubernetes(host, "web", "builder"),
	} {
		w.wantRefused(what, w.token(claims))
	}
}

// TestV51_ServiceAccountsOfAClusterLogIn by the audiences that a trust names.
func TestV51_ServiceAccountsOfAClusterLogIn(t *testing.T) {
	w := newWorld(t, loopback)
	w.issuer = testserver.StartIssuer(t, "/id/4A7F") // as those of managed clusters
	w.trusts("acme", meta.Trust{Audiences: []string{"berth", "registry"}, Condition: `claims.sub == "system:serviceaccount:web:builder" && claims["kubernetes.io"].namespace == "web"`})
	for _, audience := range []string{"berth", "registry"} {
		if id := w.wantIn(w.token(testserver.Kubernetes(audience, "web", "builder"))); id.Job != "system:serviceaccount:web:builder" {
			t.Errorf("%+v", id)
		}
	}
	for what, claims := range map[string]map[string]any{
		"the host, which is not named": testserver.Kubernetes(host, "web", "builder"),
		"the cluster itself":           testserver.Kubernetes("https://kubernetes.default.svc", "web", "builder"),
		"another namespace":            testserver.Kubernetes("berth", "api", "builder"),
		"another account":              testserver.Kubernetes("berth", "web", "default"),
	} {
		w.wantRefused(what, w.token(claims))
	}
}

// FuzzCondition compiles whatever is written, and runs it: no panic, and no more than the bound.
func FuzzCondition(f *testing.F) {
	for _, seed := range []string{fromMain, "true", "claims.a.exists(x, x == claims.b)", `claims["a"][0].b`, "[1].map(x, [x]).size() > 0", `claims.ref.matches("(a|b)*")`, "{1: claims}[1] == {}", "9223372036854775807 + 1 > 0", "1 / 0 == 1"} {
		f.Add(seed, "value")
	}
	f.Fuzz(func(t *testing.T, text, value string) {
		if err := workload.Check(github, text); err != nil {
			if fault.KindOf(err) != fault.Invalid {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		c, err := workload.Compile(text)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		claims := map[string]any{"sub": value, "a": []any{value, 1.0, nil}, "b": map[string]any{value: value}}
		if holds, err := c.Holds(t.Context(), claims); holds && err != nil {
			t.Errorf("%q: %v", text, err)
		}
	})
}
