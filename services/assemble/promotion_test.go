package assemble_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/cosign"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/tools/testserver"
)

func TestW156_Promotions_Embedded(t *testing.T) {
	t.Parallel()
	promotions(t, func(seed string) *world { return startEmbedded(t, seed, chained) })
}

func TestW156_Promotions_OnServers(t *testing.T) {
	t.Parallel()
	promotions(t, func(seed string) *world { return startOnServers(t, seed, "", chained) })
}

// promotions promotes what a registry hosts and what its chain has cached, and then deletes
// where it came from.
func promotions(t *testing.T, start func(seed string) *world) {
	up := testserver.StartRegistry(t, testserver.RegistryOptions{Token: true})
	const remote, never = "library/app", "library/never"
	cached, unseen, hosted := ocitest.NewImage(2, 1000, 3000), ocitest.NewImage(3, 1000), ocitest.NewImage(1, 1000, 2000)
	up.Push(t, remote, cached, "1")
	up.Push(t, never, unseen, "1")
	w := start(chainSeed(up.URL(), up.Tokens.Addr()))
	in := func(host, name string) repository { return w.repository(host, "suite", name) }
	promote := func(name string, body map[string]any, want int) answer {
		t.Helper()
		return w.admin(t, http.MethodPost, "/v1/tenants/acme/registries/dev/repositories/"+name+":promote", body).want(t, want)
	}

	dev := in(devHost, "team/app")
	dev.pushImage(t, hosted, "1")
	sbom := dev.push(t, dev.referring(t, made(hosted.Index), "application/vnd.example.sbom", nil))
	signature := dev.push(t, dev.referring(t, sbom, "application/vnd.example.signature", nil))
	old := dev.push(t, dev.image(t, nil), "sha256-"+made(hosted.Manifest).Digest.Encoded()+".sig")
	promote("team/app", map[string]any{"tag": "1", "to_registry": "prod", "to_tag": "stable"}, http.StatusOK)
	promote("team/app", map[string]any{"tag": "1", "to_registry": "prod", "to_tag": "stable"}, http.StatusOK)

	refused := promote(never, map[string]any{"tag": "1", "to_registry": "prod"}, http.StatusBadRequest)
	if !bytes.Contains(refused.body, []byte("NOT_PROMOTABLE")) || !bytes.Contains(refused.body, []byte(unseen.Manifest.Digest.String())) {
		t.Errorf("%s", refused.body)
	}
	var dry struct{ Missing []string }
	promote(never, map[string]any{"tag": "1", "to_registry": "prod", "validate_only": true}, http.StatusOK).decode(t, &dry)
	if len(dry.Missing) != 1 || dry.Missing[0] != unseen.Manifest.Digest.String() {
		t.Errorf("missing are %q", dry.Missing)
	}
	promote("library/none", map[string]any{"tag": "1", "to_registry": "prod"}, http.StatusNotFound)

	w.repository(devHost, "reader", remote).wantImage(t, "1", cached)
	w.stored(t, remote, cached)
	promote(remote, map[string]any{"tag": "1", "to_registry": "prod", "to_repository": "base/app"}, http.StatusOK)
	promote(remote, map[string]any{"tag": "1", "to_tag": "mine"}, http.StatusOK) // into the registry itself

	up.Stop()
	w.admin(t, http.MethodDelete, "/v1/tenants/acme/registries/dev/repositories/team/app", nil).want(t, http.StatusOK)
	w.admin(t, http.MethodPost, "/v1/tenants/acme/upstreams/ghcr:purge", map[string]any{}).want(t, http.StatusOK)
	w.collect(t)
	prod := in(prodHost, "team/app")
	prod.wantImage(t, "stable", hosted)
	prod.wantReferrers(t, prod.at("referrers/%s", hosted.Index.Digest), sbom)
	prod.wantReferrers(t, prod.at("referrers/%s", sbom.Digest), signature)
	prod.wantManifest(t, "sha256-"+made(hosted.Manifest).Digest.Encoded()+".sig", old)
	for _, m := range []manifest{sbom, signature, old} {
		for _, d := range m.blobs(t) {
			prod.get(t, prod.at("blobs/%s", d)).want(t, http.StatusOK)
		}
	}
	in(prodHost, "base/app").wantImage(t, "1", cached)
	in(devHost, remote).wantImage(t, "mine", cached)
	w.stop(t)
	w.wantSound(t)
}

// TestW163_CosignSigns has cosign sign an image in each form that it stores. A gate demands its
// key of what is pulled through and promoted.
func TestW163_CosignSigns(t *testing.T) {
	t.Parallel()
	s := newSigned(t)
	s.cosign(t, nil, "generate-key-pair")
	key, err := os.ReadFile(filepath.Join(s.dir, "cosign.pub"))
	if err != nil {
		t.Fatal(err)
	}
	s.admin(t, http.MethodPost, "/v1/tenants/acme/promotionGates?promotion_gate_id=signed",
		map[string]any{"registry": "prod", "repositories": []string{"library/**"}, "public_keys": []string{string(key)}}).want(t, http.StatusOK)
	for form := range cosignForms {
		s.promote(t, form, "gate signed: the image needs a signature by one of its keys: it has none", "--key", "cosign.key")
	}
}

// cosignForms are the forms in which cosign stores a signature: variables and arguments.
var cosignForms = map[string]struct{ env, args []string }{
	"tag":      {},
	"bundle":   {args: []string{"--new-bundle-format"}},
	"referrer": {env: []string{"COSIGN_EXPERIMENTAL=1"}, args: []string{"--registry-referrers-mode", "oci-1-1"}},
}

// signed is a world whose upstream has images that a cosign signs.
type signed struct {
	*world
	up  *testserver.Registry
	dir string
}

func newSigned(t *testing.T, edits ...edit) signed {
	t.Helper()
	up := testserver.StartRegistry(t, testserver.RegistryOptions{Token: true})
	s := signed{startEmbedded(t, chainSeed(up.URL(), up.Tokens.Addr()), append(edits, chained)...), up, t.TempDir()}
	config := fmt.Sprintf(`{"auths": {%q: {"auth": %q}}}`, strings.TrimPrefix(up.URL(), "http://"), base64.StdEncoding.EncodeToString([]byte(testserver.RegistryUser+":"+testserver.RegistryPassword)))
	if err := errors.Join(os.Mkdir(filepath.Join(s.dir, ".docker"), 0o700), os.WriteFile(filepath.Join(s.dir, ".docker", "config.json"), []byte(config), 0o600)); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s signed) cosign(t *testing.T, env []string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), testserver.Program(t, "cosign"), args...)
	cmd.Dir, cmd.Env = s.dir, append(slices.Clip(env), "COSIGN_PASSWORD=", "HOME="+s.dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cosign %s: %v\n%s", args, err, out)
	}
}

// promote has an image pulled through dev. Its promotion to prod is refused for the reason
// until cosign has signed it, with the arguments, and the signature was pulled, too.
func (s signed) promote(t *testing.T, form, refusal string, args ...string) {
	t.Helper()
	image, name := ocitest.NewImage(uint64(len(form)), 1000), "library/"+form
	s.up.Push(t, name, image, "1")
	dev := s.repository(devHost, "suite", name)
	dev.wantImage(t, "1", image)
	promote := func(want int) answer {
		t.Helper()
		return s.admin(t, http.MethodPost, "/v1/tenants/acme/registries/dev/repositories/"+name+":promote", map[string]any{"digest": image.Index.Digest, "to_registry": "prod", "to_tag": "1"}).want(t, want)
	}
	cached := func() {
		t.Helper()
		soon(t, "what was pulled to be cached", func() bool {
			var dry struct{ Missing []string }
			s.admin(t, http.MethodPost, "/v1/tenants/acme/registries/dev/repositories/"+name+":promote",
				map[string]any{"digest": image.Index.Digest, "to_registry": "prod", "to_tag": "1", "validate_only": true}).want(t, http.StatusOK).decode(t, &dry)
			return len(dry.Missing) == 0
		})
	}
	cached()
	if refused := promote(http.StatusBadRequest); !bytes.Contains(refused.body, []byte(refusal)) {
		t.Errorf("%s: %s", form, refused.body)
	}
	how := cosignForms[form]
	args = append(append([]string{"sign", "--tlog-upload=false", "--yes"}, args...), how.args...)
	s.cosign(t, how.env, append(args, strings.TrimPrefix(s.up.URL(), "http://")+"/"+name+"@"+image.Index.Digest.String())...)
	dev.pullSignatures(t, image.Index)
	cached()
	promote(http.StatusOK)
	s.repository(prodHost, "suite", name).wantImage(t, "1", image)
}

// pullSignatures pulls what accompanies a manifest, with its blobs.
func (r repository) pullSignatures(t *testing.T, of ocitest.Content) {
	t.Helper()
	var list struct{ Manifests []oci.Descriptor }
	r.get(t, r.at("referrers/%s", of.Digest)).want(t, http.StatusOK).decode(t, &list)
	references := []string{cosign.Tag(of.Digest)}
	for _, d := range list.Manifests {
		references = append(references, d.Digest.String())
	}
	for _, reference := range references {
		a := r.get(t, r.at("manifests/%s", reference))
		if a.status == http.StatusNotFound {
			continue
		}
		parsed, err := oci.ParseManifest("", a.want(t, http.StatusOK).body)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range parsed.Blobs {
			r.get(t, r.at("blobs/%s", b.Digest)).want(t, http.StatusOK)
		}
	}
}

// TestW164_LabelsAreRead from the config of each platform.
func TestW164_LabelsAreRead(t *testing.T) {
	t.Parallel()
	w := startEmbedded(t, chainSeed("http://127.0.0.1:1", "127.0.0.1:1"), chained)
	r := w.repository(prodHost, "suite", "app")
	platform := func(config string) ocitest.Content {
		c, layer := ocitest.Config([]byte(config)), ocitest.Layer([]byte("layer"))
		for _, b := range []ocitest.Content{c, layer} {
			r.blobOf(t, b.MediaType, b.Bytes)
		}
		m := ocitest.Manifest(c, layer)
		r.push(t, made(m))
		return m
	}
	labelled := platform(`{"os": "linux", "config": {"Labels": {"team": "a", "reviewed": "yes"}}}`)
	other := platform(`{"os": "linux", "architecture": "arm64", "config": {"Labels": {"team": "b"}}}`)
	attestation := platform(`{"os": "unknown"}`)
	r.push(t, made(ocitest.Index(labelled, attestation)), "good")
	r.push(t, made(ocitest.Index(labelled, other, attestation)), "mixed")
	r.push(t, made(ocitest.Index(attestation)), "none")
	w.admin(t, http.MethodPost, "/v1/tenants/acme/promotionGates?promotion_gate_id=labelled", map[string]any{"labels": map[string]string{"team": "a", "reviewed": ""}}).want(t, http.StatusOK)
	for tag, unmet := range map[string][]string{
		"good":  {},
		"mixed": {"gate labelled: the image needs the label reviewed, on each platform", "gate labelled: the image needs the label team=a, on each platform"},
		"none":  {"gate labelled: the image needs labels, and has no config with any"},
	} {
		var dry struct{ Unmet []string }
		w.admin(t, http.MethodPost, "/v1/tenants/acme/registries/prod/repositories/app:promote", map[string]any{"tag": tag, "to_repository": "released", "validate_only": true}).want(t, http.StatusOK).decode(t, &dry)
		if !slices.Equal(dry.Unmet, unmet) {
			t.Errorf("%s: %q, want %q", tag, dry.Unmet, unmet)
		}
	}
}
