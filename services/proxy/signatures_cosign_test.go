package proxy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/tools/testserver"
)

// TestT68_Cosign has cosign sign images at a real registry, in each form that it stores.
func TestT68_Cosign(t *testing.T) {
	dir := t.TempDir()
	run := func(env []string, args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), testserver.Program(t, "cosign"), args...)
		cmd.Dir, cmd.Env = dir, append(env, "COSIGN_PASSWORD=", "HOME="+dir)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("cosign %s: %v\n%s", args, err, out)
		}
	}
	run(nil, "generate-key-pair")
	key, err := os.ReadFile(filepath.Join(dir, "cosign.pub"))
	if err != nil {
		t.Fatal(err)
	}
	up := testserver.StartRegistry(t, testserver.RegistryOptions{})
	w := newWorld(t)
	w.upstream("hub", up.URL(), signedBy(nil, string(key)))
	w.chain(meta.Member{Upstream: "hub"})
	for name, how := range map[string]struct {
		env  []string
		args []string
	}{
		"tag":      {},
		"bundle":   {args: []string{"--new-bundle-format"}},
		"referrer": {env: []string{"COSIGN_EXPERIMENTAL=1"}, args: []string{"--registry-referrers-mode", "oci-1-1"}},
	} {
		t.Run(name, func(t *testing.T) {
			image := ocitest.NewImage(uint64(len(name)), 1000)
			up.Push(t, name, image, "1")
			w.refused("signatures", "/v2/"+name+"/manifests/1", "/v2/"+name+"/manifests/"+image.Manifest.Digest.String())
			host := strings.TrimPrefix(up.URL(), "http://")
			run(how.env, append([]string{"sign", "--key", "cosign.key", "--tlog-upload=false", "--yes", host + "/" + name + "@" + image.Index.Digest.String()}, how.args...)...)
			w.pass(tagTTL)
			w.wantPull("", name, "1", image)
		})
	}
}
