package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"maps"
	"regexp"
	"slices"
)

// meanings are what the verbs of events say. The page fails to build where the
// code and this list differ.
var meanings = map[string]string{
	"group.create":            "A group of accounts was made.",
	"group.delete":            "A group of accounts was deleted.",
	"group.update":            "A group of accounts was changed.",
	"accessRule.create":       "An access rule was made.",
	"accessRule.delete":       "An access rule was deleted.",
	"accessRule.update":       "An access rule was changed.",
	"tagRule.create":          "A tag rule was made.",
	"tagRule.delete":          "A tag rule was deleted.",
	"tagRule.update":          "A tag rule was changed.",
	"accessToken.create":      "An access token of a user was made.",
	"accessToken.delete":      "An access token of a user was deleted.",
	"backup.create":           "A backup was begun.",
	"backup.delete":           "A backup was ended.",
	"blob.delete":             "A blob was removed from a repository.",
	"blob.lost":               "The blob store does not have the bytes of a blob; the changes name the repositories.",
	"blob.mount":              "A blob of another repository was linked.",
	"blob.push":               "A blob was uploaded.",
	"blob.recover":            "The bytes of a blob that was reported are as they must be.",
	"blob.rotten":             "The blob store has other bytes of a blob than were stored; the changes name the repositories.",
	"cache.purge":             "What is kept of an upstream was forgotten by an administrator.",
	"cache.tag_rollback":      "An upstream's tag went back to an older manifest.",
	"call.deny":               "Calls were refused to an account that has no right to them; alike ones within a minute are one event.",
	"login.fail":              "Logins were refused; alike ones within a minute are one event.",
	"digest.purge":            "A digest was purged from all repositories of a tenant; the changes name the live manifests that went with it.",
	"domain.create":           "A host name was added.",
	"domain.delete":           "A host name was removed.",
	"domain.update":           "A host name was led to another registry.",
	"domain.verify":           "A host name was proved to be the tenant's.",
	"identityProvider.create": "An identity provider was made.",
	"identityProvider.delete": "An identity provider was deleted.",
	"identityProvider.skip":   "A mapping of an identity provider made nothing for a group.",
	"identityProvider.update": "An identity provider was changed.",
	"key.create":              "A key of a service account was made.",
	"key.delete":              "A key of a service account was deleted.",
	"manifest.delete":         "A manifest was deleted, with the tags on it.",
	"manifest.promote":        "A manifest was promoted from another repository, by itself or with an image; the changes name where it came from.",
	"manifest.purge":          "A manifest went with the purge of a digest, with the tags on it.",
	"manifest.put":            "A manifest was pushed.",
	"manifest.undelete":       "A deleted manifest was restored, by itself or with another one.",
	"mirrorHost.create":       "A mirror host was made.",
	"mirrorHost.delete":       "A mirror host was deleted with its names.",
	"mirrorHost.first_use":    "A mirror host was used from an address for the first time; of up to 256 addresses.",
	"mirrorHost.rotate":       "A mirror host got another name.",
	"mirrorHost.update":       "A mirror host was changed.",
	"mirrorHost.use":          "A mirror host was used, so many times within an hour.",
	"nameClaim.release":       "A registry gave up a name, which its upstreams may answer for again.",
	"operator.create":         "An operator was made.",
	"operator.delete":         "An operator was deleted with its tokens.",
	"operator.update":         "An operator was changed.",
	"operatorToken.create":    "An access token of an operator was made.",
	"operatorToken.delete":    "An access token of an operator was deleted.",
	"promotionGate.create":    "A promotion gate was made.",
	"promotionGate.delete":    "A promotion gate was deleted.",
	"promotionGate.update":    "A promotion gate was changed.",
	"webhook.create":          "A webhook was made.",
	"webhook.delete":          "A webhook was deleted with its deliveries.",
	"webhook.disable":         "A webhook was disabled, since its receiver answered 410 Gone.",
	"webhook.drop":            "Too many deliveries of a webhook were waiting: the oldest ones are dead. One event an hour; its changes say how many were first.",
	"webhook.redeliver":       "A delivery of a webhook was asked for once more.",
	"webhook.update":          "A webhook was changed.",
	"pullRule.create":         "A pull rule was made.",
	"pullRule.delete":         "A pull rule was deleted.",
	"pullRule.update":         "A pull rule was changed.",
	"refreshToken.delete":     "A refresh token was ended.",
	"registry.create":         "A registry was made.",
	"registry.delete":         "A registry was deleted.",
	"registry.undelete":       "A deleted registry was brought back.",
	"registry.update":         "A registry's settings were changed.",
	"repository.delete":       "A repository was deleted with its content.",
	"repository.undelete":     "A deleted repository was restored.",
	"prefetch.create":         "A prefetch was made.",
	"prefetch.delete":         "A prefetch was deleted.",
	"prefetch.run":            "A run of a prefetch ended; the changes say how many references were fetched, and how many were not.",
	"prefetch.start":          "A run of a prefetch was asked for.",
	"prefetch.update":         "A prefetch was changed.",
	"retentionPolicy.create":  "A retention policy was made.",
	"retentionPolicy.delete":  "A retention policy was deleted.",
	"retentionPolicy.run":     "A run of a retention policy ended; the changes say what it deleted, or would delete if it was enforced.",
	"retentionPolicy.start":   "A run of a retention policy was asked for.",
	"retentionPolicy.update":  "A retention policy was changed.",
	"usage.recount":           "What the registries hold began to be counted again, as an operator asked.",
	"search.rebuild":          "A comparison of the search index with all content was started by an operator.",
	"scrub.start":             "The scrub was started by an operator.",
	"scrub.stop":              "The scrub was stopped by an operator.",
	"secrets.reseal":          "Passwords of upstreams were sealed with another secret_key.",
	"serviceAccount.create":   "A service account was made.",
	"serviceAccount.delete":   "A service account was deleted with its keys.",
	"serviceAccount.revoke":   "The tokens of a service account were revoked.",
	"serviceAccount.update":   "A service account was changed.",
	"session.create":          "A session of a browser was made.",
	"session.delete":          "Sessions of browsers were ended.",
	"signingKeys.rotate":      "The keys that sign tokens were replaced.",
	"tag.delete":              "A tag was deleted.",
	"tag.undelete":            "A tag was restored by its history.",
	"tenant.create":           "A tenant was made.",
	"tenant.delete":           "A tenant was deleted.",
	"tenant.undelete":         "A deleted tenant was brought back.",
	"tenant.update":           "A tenant was changed, suspended or resumed.",
	"trust.create":            "A trust of a service account was made: jobs log in by it.",
	"trust.delete":            "A trust of a service account was deleted.",
	"user.create":             "A user was made.",
	"user.delete":             "A user was deleted with its access tokens.",
	"user.end":                "An identity provider has disabled or removed a person: the user was disabled, and its tokens and sessions were ended.",
	"user.groups":             "An identity provider said that a person left groups or joined some.",
	"user.revoke":             "The tokens of a user were revoked.",
	"user.update":             "A user was changed.",
	"upstream.create":         "An upstream was made.",
	"upstream.delete":         "An upstream was deleted with what was kept of it.",
	"upstream.update":         "An upstream was changed.",
	"upstreamGroup.create":    "An upstream group was made.",
	"upstreamGroup.delete":    "An upstream group was deleted.",
	"upstreamGroup.update":    "An upstream group was changed.",
}

// verb matches what both metadata stores write as the verb of an event.
var verb = regexp.MustCompile(`^[a-z][A-Za-z_]+\.[a-z_]+$`)

// others look like verbs and are a file or a column.
var others = []string{"meta.db", "meta.lock", "tags.version"}

// events lists the verbs of the audit log.
func events(page *bytes.Buffer) error {
	want := slices.Sorted(maps.Keys(meanings))
	for _, store := range []string{"pkg/meta/sqlitemeta", "pkg/meta/pgmeta"} {
		found, err := verbs(store, "pkg/meta/sqlmeta", "pkg/meta/event.go") // which both share
		if err != nil {
			return err
		}
		if !slices.Equal(found, want) {
			return fmt.Errorf("%s writes %v; tools/reference/events.go explains %v", store, found, want)
		}
	}
	page.WriteString("# Events\n\n" + generated +
		"The audit log of a tenant, `GET /v1/tenants/{tenant}/events`, newest first. Each change is one row, written in the same transaction\n" +
		"as the change itself, with its time, actor, target, request id, client address and user agent, and with what it set, changed or\n" +
		"took away. `GET /v1/events` is the log of the operators: tenants as a whole, operators, backups, and failed logins at the admin\n" +
		"API. What is\n" +
		"refused is counted: alike refusals of a minute are one row, and a tenant gets few rows a minute, however many callers try.\n\n" +
		"| verb | what happened |\n| --- | --- |\n")
	for _, v := range want {
		fmt.Fprintf(page, "| `%s` | %s |\n", v, meanings[v])
	}
	return nil
}

// verbs are the values in the code of packages that look like one.
func verbs(packages ...string) ([]string, error) {
	var files []*ast.File
	for _, name := range packages {
		some, err := sources(name)
		if err != nil {
			return nil, err
		}
		files = append(files, some...)
	}
	found := map[string]bool{}
	for _, file := range files {
		ast.Inspect(file, func(n ast.Node) bool {
			var values []ast.Expr
			switch n := n.(type) {
			case *ast.CallExpr:
				values = n.Args
			case *ast.AssignStmt:
				values = n.Rhs
			case *ast.ValueSpec:
				values = n.Values
			}
			for _, value := range values {
				if s, ok := text(value); ok && verb.MatchString(s) && !slices.Contains(others, s) {
					found[s] = true
				}
			}
			return true
		})
	}
	return slices.Sorted(maps.Keys(found)), nil
}
