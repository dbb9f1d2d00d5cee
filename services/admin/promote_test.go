package admin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/services/internal/promotion"
)

// TestW153_APromotionMovesAWholeImage by the API: its tag, platforms and companions are in the
// other registry, and history and audit log link both ends.
func TestW153_APromotionMovesAWholeImage(t *testing.T) {
	a := newAPI(t)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	for _, id := range []string{"dev", "prod"} {
		a.call(200, "POST", "/v1/tenants/acme/registries?registry_id="+id, "")
	}
	platform := ocitest.Index()
	image := ocitest.Index(platform)
	signature := ocitest.Extra{Subject: &image.Descriptor, Annotations: map[string]string{"is": "a signature"}}.Index()
	a.pushContent("acme", "dev", "team/app", platform)
	a.pushContent("acme", "dev", "team/app", image, "v1")
	a.pushContent("acme", "dev", "team/app", signature, "sha256-"+image.Digest.Hex()+".sig")
	const path = "/v1/tenants/acme/registries/dev/repositories/team/app:promote"

	dry := a.call(200, "POST", path, `{"tag": "v1", "to_registry": "prod", "validate_only": true}`)
	if dry["manifests"] != 3.0 || dry["companions"] != 1.0 || len(dry["missing"].([]any)) != 0 {
		t.Errorf("%v", dry)
	}
	a.call(404, "GET", "/v1/tenants/acme/registries/prod/repositories/team/app", "")
	got := a.call(200, "POST", path, `{"tag": "v1", "to_registry": "prod", "to_repository": "app", "to_tag": "stable"}`)
	name := "tenants/acme/registries/prod/repositories/app"
	if got["name"] != name+"@"+image.Digest.String() || got["tag"] != "stable" || got["manifests"] != 3.0 {
		t.Errorf("%v", got)
	}
	if tags := fmt.Sprint(a.call(200, "GET", "/v1/"+name+":listTags", "")); !strings.Contains(tags, "stable") || !strings.Contains(tags, ".sig") {
		t.Error(tags)
	}
	if history := fmt.Sprint(a.call(200, "GET", "/v1/"+name+":listTagHistory?tag=stable", "")); !strings.Contains(history, "PROMOTE") || !strings.Contains(history, image.Digest.String()) {
		t.Error(history)
	}
	events := fmt.Sprint(a.call(200, "GET", "/v1/tenants/acme/events?page_size=20", ""))
	for _, want := range []string{"manifest.promote", "registries/prod/repositories/app:stable@" + image.Digest.String(), "registries/dev/repositories/team/app@" + image.Digest.String()} {
		if !strings.Contains(events, want) {
			t.Errorf("no %s in %s", want, events)
		}
	}

	// Within a registry, and by digest without a tag.
	a.call(200, "POST", path, fmt.Sprintf(`{"digest": %q, "to_tag": "v1.0"}`, image.Digest))
	got = a.call(200, "POST", path, fmt.Sprintf(`{"digest": %q, "to_repository": "untagged"}`, platform.Digest))
	if got["tag"] != "" && got["tag"] != nil {
		t.Errorf("%v", got)
	}
}

// TestW154_APromotionNeedsPullAndPromote: PULL on the source and PROMOTE on the target, by role
// or rules, which also take; others learn nothing, and nothing leads to another tenant.
func TestW154_APromotionNeedsPullAndPromote(t *testing.T) {
	a := newAPI(t)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	a.call(200, "POST", "/v1/tenants?tenant_id=other", "")
	a.call(200, "POST", "/v1/tenants/acme/registries?registry_id=prod", "")
	secrets := map[string]string{}
	for _, role := range []string{"MEMBER", "AUDITOR", "READER", "WRITER", "ADMIN"} {
		secrets[role] = a.account("acme", "sa-"+strings.ToLower(role), role)
	}
	stranger := a.account("other", "admin", "ADMIN")
	rule := func(id, effect, who, registry, repositories, action string) {
		t.Helper()
		a.call(200, "POST", "/v1/tenants/acme/accessRules?access_rule_id="+id,
			fmt.Sprintf(`{"effect": %q, "principals": ["serviceAccounts/%s"], "registries": [%q], "repositories": [%q], "actions": [%q]}`, effect, who, registry, repositories, action))
	}
	a.push("acme", "main", "team/app", "v1")
	const path = "/v1/tenants/acme/registries/main/repositories/team/app:promote"
	const body = `{"tag": "v1", "to_registry": "prod"}`
	for role, want := range map[string]int{"MEMBER": 404, "AUDITOR": 404, "READER": 403, "WRITER": 200, "ADMIN": 200} {
		if resp, text := a.send(secrets[role], "POST", path, body); resp.StatusCode != want {
			t.Errorf("%s: %d, want %d: %s", role, resp.StatusCode, want, text)
		}
	}
	a.callAs(stranger, 403, "POST", path, body)
	hidden := a.callAs(secrets["MEMBER"], 404, "POST", path, body)
	missing := a.callAs(secrets["MEMBER"], 404, "POST", "/v1/tenants/acme/registries/main/repositories/none:promote", body)
	nowhere := a.callAs(secrets["MEMBER"], 404, "POST", "/v1/tenants/acme/registries/none/repositories/none:promote", body)
	if fmt.Sprint(hidden["message"]) != fmt.Sprint(missing["message"]) || fmt.Sprint(hidden["message"]) != fmt.Sprint(nowhere["message"]) {
		t.Errorf("%v, %v, %v", hidden, missing, nowhere)
	}

	rule("pulls", "ALLOW", "sa-member", "main", "team/**", "PULL")
	a.callAs(secrets["MEMBER"], 403, "POST", path, body)
	rule("promotes", "ALLOW", "sa-member", "prod", "team/**", "PROMOTE")
	a.callAs(secrets["MEMBER"], 200, "POST", path, body)
	a.callAs(secrets["MEMBER"], 403, "POST", path, `{"tag": "v1", "to_registry": "prod", "to_repository": "app"}`)
	a.callAs(secrets["MEMBER"], 403, "POST", path, `{"tag": "v1", "to_registry": "none"}`)
	rule("keeps", "DENY", "sa-admin", "prod", "team/**", "PROMOTE")
	a.callAs(secrets["ADMIN"], 403, "POST", path, body)
	a.callAs(secrets["ADMIN"], 404, "POST", path, `{"tag": "v2", "to_repository": "app"}`)
	a.callAs(secrets["ADMIN"], 404, "POST", path, `{"tag": "v1", "to_registry": "none"}`)

	a.call(200, "PATCH", "/v1/tenants/acme/registries/prod", `{"read_only": true}`)
	a.callAs(secrets["WRITER"], 403, "POST", path, body)
	for _, wrong := range []string{
		`{}`, `{"digest": "sha256:1"}`, `{"tag": "v 1"}`, `{"tag": "v1", "to_tag": "v 1"}`, `{"tag": "v1", "to_repository": "V1"}`,
		fmt.Sprintf(`{"tag": "v1", "digest": %q}`, ocitest.Index().Digest),
	} {
		a.call(400, "POST", path, wrong)
	}
}

// TestW155_ATagRuleDecidesAboutAPromotion as about a push, and before anything is copied.
func TestW155_ATagRuleDecidesAboutAPromotion(t *testing.T) {
	a := newAPI(t)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	a.call(200, "POST", "/v1/tenants/acme/registries?registry_id=prod", "")
	first, second := ocitest.Index(), ocitest.Extra{Annotations: map[string]string{"second": "one"}}.Index()
	a.pushContent("acme", "main", "app", first, "v1")
	a.pushContent("acme", "main", "app", second, "v2")
	a.call(200, "POST", "/v1/tenants/acme/tagRules?tag_rule_id=fixed", `{"registry": "prod", "no_overwrite": true}`)
	promote := func(want int, d oci.Digest, more string) map[string]any {
		t.Helper()
		return a.call(want, "POST", "/v1/tenants/acme/registries/main/repositories/app:promote", fmt.Sprintf(`{"digest": %q, "to_registry": "prod", "to_tag": "stable"%s}`, d, more))
	}
	promote(200, first.Digest, "")
	promote(200, first.Digest, "")
	for _, more := range []string{`, "validate_only": true`, ""} {
		if refused := promote(403, second.Digest, more); reason(t, refused) != "DENIED" || !strings.Contains(fmt.Sprint(refused), "fixed") {
			t.Errorf("%v", refused)
		}
	}
	events := fmt.Sprint(a.call(200, "GET", "/v1/tenants/acme/events?page_size=50", ""))
	if strings.Contains(events, "registries/prod/repositories/app@"+second.Digest.String()) {
		t.Error("what a rule refuses was copied")
	}
}

// TestW157_CompanionTagsLoseNothing where both repositories have one.
func TestW157_CompanionTagsLoseNothing(t *testing.T) {
	a := newAPI(t)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	a.call(200, "POST", "/v1/tenants/acme/registries?registry_id=prod", "")
	image := ocitest.Extra{Annotations: map[string]string{"the": "image"}}.Index()
	one, two, three := ocitest.Index(), ocitest.Extra{Annotations: map[string]string{"n": "2"}}.Index(), ocitest.Extra{Annotations: map[string]string{"n": "3"}}.Index()
	tag := "sha256-" + image.Digest.Hex()
	for _, r := range []string{"main", "prod"} {
		for _, m := range []ocitest.Content{one, two, three, image} {
			a.pushContent("acme", r, "app", m)
		}
	}
	for _, row := range []struct {
		name           string
		source, target ocitest.Content
		want           int
		leadsTo        ocitest.Content
	}{
		{"more in the source", ocitest.Index(one, two), ocitest.Index(one), 200, ocitest.Index(one, two)},
		{"more in the target", ocitest.Index(one), ocitest.Index(one, two, three), 200, ocitest.Index(one, two, three)},
		{"something in both", ocitest.Index(one, two), ocitest.Index(one, three), 400, ocitest.Index(one, three)},
	} {
		a.pushContent("acme", "main", "app", row.source, tag)
		target := a.pushContent("acme", "prod", "app", row.target, tag)
		got := a.call(row.want, "POST", "/v1/tenants/acme/registries/main/repositories/app:promote", fmt.Sprintf(`{"digest": %q, "to_registry": "prod", "to_tag": "v1"}`, image.Digest))
		if row.want != 200 && reason(t, got) != "NOT_PROMOTABLE" {
			t.Errorf("%s: %v", row.name, got)
		}
		if m, err := a.store.FindManifest(t.Context(), target, oci.Reference{Tag: tag}); err != nil || m.Digest != row.leadsTo.Digest {
			t.Errorf("%s: the tag leads to %s (%v)", row.name, m.Digest, err)
		}
	}
}

// TestW158_APromotionIsBounded by the number of its manifests, in all.
func TestW158_APromotionIsBounded(t *testing.T) {
	a := newAPI(t)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	image := ocitest.Index()
	a.pushContent("acme", "main", "app", image, "v1")
	for i := range promotion.MaxManifests - 1 {
		a.pushContent("acme", "main", "app", ocitest.Extra{Subject: &image.Descriptor, Annotations: map[string]string{"n": fmt.Sprint(i)}}.Index())
	}
	const path, body = "/v1/tenants/acme/registries/main/repositories/app:promote", `{"tag": "v1", "to_tag": "v2", "validate_only": true}`
	if got := a.call(200, "POST", path, body); got["manifests"] != float64(promotion.MaxManifests) {
		t.Errorf("%v", got)
	}
	a.pushContent("acme", "main", "app", ocitest.Extra{Subject: &image.Descriptor}.Index())
	if got := a.call(400, "POST", path, body); reason(t, got) != "NOT_PROMOTABLE" {
		t.Errorf("%v", got)
	}

	// And by what they name together.
	const each = 10_000
	large := a.pushContent("acme", "main", "large", image, "v1")
	layers := slices.Repeat([]ocitest.Content{ocitest.Layer([]byte("layer"))}, each)
	for i := range promotion.MaxReferences / each {
		a.putsTag(large, ocitest.Extra{Subject: &image.Descriptor, ArtifactType: fmt.Sprint("application/x", i)}.Manifest(ocitest.Empty(), layers...), fmt.Sprint("x", i))
	}
	if got := a.call(400, "POST", strings.Replace(path, "app", "large", 1), body); reason(t, got) != "NOT_PROMOTABLE" || !strings.Contains(fmt.Sprint(got["message"]), "references") {
		t.Errorf("%v", got)
	}
}

// TestW164_GatesAreAsked for what is promoted through them, and validate_only lists all that
// is not met.
func TestW164_GatesAreAsked(t *testing.T) {
	a := newAPI(t)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	a.call(200, "POST", "/v1/tenants/acme/registries?registry_id=prod", "")
	pusher, other := a.account("acme", "ci", "WRITER"), a.account("acme", "releaser", "WRITER")
	image := ocitest.Extra{Annotations: map[string]string{"reviewed": "yes", "commit": "1"}}.Index()
	bare := ocitest.Index()
	a.pushContent("acme", "main", "app", image, "good")
	a.pushContent("acme", "main", "app", bare, "bare")
	a.pushContent("acme", "main", "app", ocitest.Extra{Subject: &image.Descriptor, ArtifactType: "application/spdx+json"}.Index())
	promote := func(secret string, want int, body string) map[string]any {
		t.Helper()
		return a.callAs(secret, want, "POST", "/v1/tenants/acme/registries/main/repositories/app:promote", body)
	}
	gate := func(id, body string) {
		t.Helper()
		a.call(200, "POST", "/v1/tenants/acme/promotionGates?promotion_gate_id="+id, body)
	}
	gate("reviewed", `{"registry": "prod", "annotations": {"reviewed": "yes", "commit": ""}, "artifact_types": ["application/spdx+json"], "another_caller": true}`)
	gate("elsewhere", `{"registry": "main", "repositories": ["other"], "min_age": "1h"}`)
	gate("stable", `{"repositories": ["app"], "tags": ["stable"], "min_age": "24h"}`)
	gate("idle", `{"min_age": "1h", "disabled": true}`)

	if got := promote(pusher, 400, `{"tag": "good", "to_registry": "prod"}`); reason(t, got) != "NOT_PROMOTABLE" || !strings.Contains(fmt.Sprint(got["message"]), "gate reviewed: another caller than serviceAccounts/ci") {
		t.Errorf("%v", got)
	}
	promote(other, 200, `{"tag": "good", "to_registry": "prod"}`)
	unmet := promote(other, 200, `{"tag": "bare", "to_registry": "prod", "to_tag": "stable", "validate_only": true}`)["unmet"].([]any)
	for i, want := range []string{"gate reviewed: the image needs the annotation commit", "gate reviewed: the image needs the annotation reviewed=yes", "gate reviewed: the image needs a referrer of the artifact type application/spdx+json", "gate stable: the image has to be in the source for 24h0m0s"} {
		if len(unmet) != 4 || !strings.HasPrefix(fmt.Sprint(unmet[i]), want) {
			t.Fatalf("%q, want %q at %d", unmet, want, i)
		}
	}
	promote(other, 400, `{"tag": "bare", "to_registry": "prod", "to_tag": "stable"}`)
	promote(other, 200, `{"tag": "bare", "to_repository": "copy"}`) // no gate is for it
	promote(other, 400, `{"tag": "bare", "to_repository": "other"}`)
	a.call(200, "PATCH", "/v1/tenants/acme/promotionGates/elsewhere", `{"disabled": true}`)
	promote(other, 200, `{"tag": "bare", "to_repository": "other"}`)

	for body, field := range map[string]string{
		`{}`:                                    "public_keys",
		`{"public_keys": ["no key"]}`:           "public_keys[0]",
		`{"min_age": "-1s"}`:                    "min_age",
		`{"artifact_types": [""]}`:              "artifact_types[0]",
		`{"annotations": {"": "a"}}`:            "annotations",
		`{"min_age": "1s", "tags": ["["]}`:      "tags[0]",
		`{"min_age": "1s", "registry": "none"}`: "registry",
	} {
		if got := fmt.Sprint(a.call(400, "POST", "/v1/tenants/acme/promotionGates?promotion_gate_id=wrong", body)); !strings.Contains(got, "field:"+field) {
			t.Errorf("%s: %s", body, got)
		}
	}
}

// TestW164_AnotherCallerIsAnotherOne: no copy makes one caller two, and who is not known is no
// other caller.
func TestW164_AnotherCallerIsAnotherOne(t *testing.T) {
	a := newAPI(t)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	for _, id := range []string{"stage", "prod"} {
		a.call(200, "POST", "/v1/tenants/acme/registries?registry_id="+id, "")
	}
	ci, releaser := a.account("acme", "ci", "WRITER"), a.account("acme", "releaser", "ADMIN")
	a.call(200, "POST", "/v1/tenants/acme/promotionGates?promotion_gate_id=two", `{"registry": "prod", "another_caller": true}`)
	image := ocitest.Index()
	referrer := ocitest.Extra{Subject: &image.Descriptor}.Index()
	promote := func(secret string, want int, from, to string, d oci.Digest) string {
		t.Helper()
		return fmt.Sprint(a.callAs(secret, want, "POST", "/v1/tenants/acme/registries/"+from+"/repositories/app:promote", fmt.Sprintf(`{"digest": %q, "to_registry": %q}`, d, to))["message"])
	}
	main := a.pushContent("acme", "main", "app", image)
	a.pushContent("acme", "main", "app", referrer) // both by ci
	promote(releaser, 200, "main", "stage", image.Digest)
	for _, d := range []oci.Digest{image.Digest, referrer.Digest} {
		if got := promote(ci, 400, "stage", "prod", d); !strings.Contains(got, "another caller than serviceAccounts/ci") {
			t.Error(got)
		}
		promote(releaser, 200, "stage", "prod", d)
	}

	a.delete(main, referrer.Digest)
	a.delete(main, image.Digest)
	a.callAs(releaser, 200, "POST", "/v1/tenants/acme/registries/main/repositories/app:undeleteManifest", fmt.Sprintf(`{"digest": %q}`, image.Digest))
	unknown := []oci.Digest{image.Digest}
	anonymous := ocitest.Extra{Annotations: map[string]string{"by": "anonymous"}}.Index()
	parsed, err := oci.ParseManifest("", anonymous.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.store.PutManifest(t.Context(), meta.ManifestPut{
		Repo: main, Manifest: meta.Manifest{Digest: anonymous.Digest, MediaType: anonymous.MediaType, Payload: anonymous.Bytes}, Parsed: parsed,
		By: meta.Cause{Op: uuid.New(), Actor: access.AnonymousActor},
	}); err != nil {
		t.Fatal(err)
	}
	for _, d := range append(unknown, anonymous.Digest) {
		for _, secret := range []string{ci, releaser} {
			if got := promote(secret, 400, "main", "prod", d); !strings.Contains(got, "it is not known who pushed the image") {
				t.Error(got)
			}
		}
	}
}

// signedLayers is an artifact with one layer for each signature, as cosign makes them: the
// layer is the same for all keys, and the signature its annotation.
func signedLayers(signatures ...string) ocitest.Content {
	payload, config := ocitest.Layer([]byte("payload")), ocitest.Empty()
	var layers []string
	for _, s := range signatures {
		layers = append(layers, fmt.Sprintf(`{"mediaType": %q, "digest": %q, "size": %d, "annotations": {"dev.cosignproject.cosign/signature": %q}}`,
			payload.MediaType, payload.Digest, payload.Size, s))
	}
	const mediaType = "application/vnd.oci.image.manifest.v1+json"
	body := []byte(fmt.Sprintf(`{"schemaVersion": 2, "mediaType": %q, "config": {"mediaType": %q, "digest": %q, "size": %d}, "layers": [%s]}`,
		mediaType, config.MediaType, config.Digest, config.Size, strings.Join(layers, ", ")))
	return ocitest.Content{Descriptor: oci.Descriptor{MediaType: mediaType, Digest: oci.DigestOf(oci.SHA256, body), Size: int64(len(body))}, Bytes: body}
}

// putsTag puts a manifest under a tag, and its references may miss.
func (a *api) putsTag(r meta.Repo, m ocitest.Content, tag string) {
	a.t.Helper()
	parsed, err := oci.ParseManifest("", m.Bytes)
	if err != nil {
		a.t.Fatal(err)
	}
	put := meta.ManifestPut{
		Repo: r, Manifest: meta.Manifest{Digest: m.Digest, MediaType: m.MediaType, Payload: m.Bytes}, Parsed: parsed, Tags: []string{tag},
		By: meta.Cause{Op: uuid.New(), Actor: "serviceAccounts/ci"}, AllowMissingReferences: true,
	}
	if err := a.store.PutManifest(a.t.Context(), put); err != nil {
		a.t.Fatal(err)
	}
}

// TestW157_ASignatureIsNotReplacedByAnother of the same payload.
func TestW157_ASignatureIsNotReplacedByAnother(t *testing.T) {
	a := newAPI(t)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	a.call(200, "POST", "/v1/tenants/acme/registries?registry_id=prod", `{"missing_references": "ALLOW"}`)
	image := ocitest.Index()
	main, prod := a.pushContent("acme", "main", "app", image), a.pushContent("acme", "prod", "app", image)
	tag := "sha256-" + image.Digest.Hex() + ".sig"
	promote := func(want int) map[string]any {
		t.Helper()
		return a.call(want, "POST", "/v1/tenants/acme/registries/main/repositories/app:promote", fmt.Sprintf(`{"digest": %q, "to_registry": "prod", "to_tag": "v1"}`, image.Digest))
	}
	at := func(want ocitest.Content) {
		t.Helper()
		if m, err := a.store.FindManifest(t.Context(), prod, oci.Reference{Tag: tag}); err != nil || m.Digest != want.Digest {
			t.Errorf("the tag leads to %s (%v), want %s", m.Digest, err, want.Digest)
		}
	}
	a.putsTag(main, signedLayers("X"), tag)
	a.putsTag(prod, signedLayers("Y"), tag)
	if got := promote(400); reason(t, got) != "NOT_PROMOTABLE" {
		t.Errorf("%v", got)
	}
	at(signedLayers("Y"))
	a.putsTag(main, signedLayers("X", "Y"), tag)
	promote(200)
	at(signedLayers("X", "Y"))
}

// TestW158_PromotionsOfATenantTakeTurns, and other tenants do not wait for them.
func TestW158_PromotionsOfATenantTakeTurns(t *testing.T) {
	a := newAPI(t)
	repos := map[string]meta.Repo{}
	for _, id := range []string{"acme", "other"} {
		a.call(200, "POST", "/v1/tenants?tenant_id="+id, "")
		repos[id] = a.pushContent(id, "main", "app", ocitest.Index(), "v1")
	}
	acme, gate := repos["acme"].Tenant, a.service.promoting
	for gate.TryAcquire(acme, 1) { // as many as may be at work
		t.Cleanup(func() { gate.Release(acme, 1) })
	}
	ctx, cancel := context.WithCancel(t.Context())
	var waiting sync.WaitGroup
	for range maxTestsWaiting {
		waiting.Go(func() {
			if err := a.service.enterPromotion(ctx, acme); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	}
	await.True(t, 30*time.Second, "all wait", func() bool { return gate.Stats().Waiting == maxTestsWaiting })
	const path, body = "/v1/tenants/%s/registries/main/repositories/app:promote", `{"tag": "v1", "to_tag": "v2"}`
	resp, text := a.send(operatorToken, "POST", fmt.Sprintf(path, "acme"), body)
	if resp.StatusCode != 503 || !strings.Contains(string(text), "BUSY") {
		t.Errorf("%d: %s", resp.StatusCode, text)
	}
	a.call(200, "POST", fmt.Sprintf(path, "other"), body)
	cancel()
	waiting.Wait()
}
