package assemble_test

import (
	"net/http"
	"strings"
	"testing"
)

// tagRulesSeed has an account that may change everything, one that may pull alone, and a
// rule for full versions and latest in the repositories below fixed.
const tagRulesSeed = `
tenants:
  - id: acme
    registries:
      - {id: dev}
    service_accounts:
      - {id: suite, role: ADMIN, keys: [{id: key, secret_file: secret}]}
      - {id: reader, role: READER, keys: [{id: key, secret_file: secret}]}
    tag_rules:
      - {id: releases, registry: dev, repositories: ["fixed/**"], tags: ["v*", latest], no_overwrite: true, no_delete: true}
`

// TestB8_WhatIsThereAndWhatIsImmutable goes through create, update and delete of a tag, of
// a digest and of latest, where it is new, where it is there and where a rule protects it,
// by an account that may do it and by one that may not: 54 cells.
func TestB8_WhatIsThereAndWhatIsImmutable(t *testing.T) {
	t.Parallel()
	for shape, start := range map[string]func(*testing.T, string) *world{
		"embedded": func(t *testing.T, seed string) *world { t.Helper(); return startEmbedded(t, seed) },
		"whole":    func(t *testing.T, seed string) *world { t.Helper(); return startWhole(t, seed, "") },
	} {
		t.Run(shape, func(t *testing.T) {
			t.Parallel()
			w := start(t, tagRulesSeed)
			cells := 0
			for _, account := range []string{"suite", "reader"} {
				for _, op := range []string{"create", "update", "delete"} {
					for _, reference := range []string{"tag", "digest", "latest"} {
						for _, state := range []string{"new", "existing", "immutable"} {
							cells++
							wantCell(t, w, account, op, reference, state)
						}
					}
				}
			}
			if cells != 54 {
				t.Errorf("%d cells", cells)
			}
			w.stop(t)
			w.wantSound(t)
		})
	}
}

// wantCell sends one request to a repository of its own. Its answer is that of the table
// where the account may change something, else 403, and what is refused changes nothing.
func wantCell(t *testing.T, w *world, account, op, reference, state string) {
	t.Helper()
	name := strings.Join([]string{account, op, reference, state}, "-")
	if state == "immutable" {
		name = "fixed/" + name
	}
	suite := w.repository(devHost, "suite", name)
	first, second := suite.image(t, nil), suite.image(t, nil)
	suite.push(t, first, "other") // the repository is there
	tag := map[string]string{"tag": "v1.2.3", "digest": "v1.2.3", "latest": "latest"}[reference]
	if state != "new" {
		suite.push(t, second, tag)
	}
	target := tag
	if reference == "digest" {
		target = second.Digest.String()
	}
	r := w.repository(devHost, account, name)
	var a answer
	switch op {
	case "create":
		a = r.putManifest(t, target, second)
	case "update":
		a = r.putManifest(t, target, first)
	default:
		a = r.remove(t, r.at("manifests/%s", target))
	}
	if want := cellWant(account, op, reference, state); a.status != want {
		t.Errorf("%s: %d, want %d: %s", name, a.status, want, clip(string(a.body)))
	}
	if state == "immutable" {
		suite.wantManifest(t, tag, second)
		if account == "suite" && a.status == http.StatusForbidden {
			a.wantCode(t, "DENIED")
			if !strings.Contains(string(a.body), "tag "+tag+" is protected by tag rule releases") {
				t.Errorf("%s: %s", name, clip(string(a.body)))
			}
		}
	}
}

func cellWant(account, op, reference, state string) int {
	switch {
	case account == "reader":
		return http.StatusForbidden
	case op == "update" && reference == "digest":
		return http.StatusBadRequest // the content is another one
	case op == "delete" && state == "new":
		return http.StatusNotFound
	case op == "create", op == "update" && state != "immutable":
		return http.StatusCreated
	case state == "immutable":
		return http.StatusForbidden
	default:
		return http.StatusAccepted
	}
}
