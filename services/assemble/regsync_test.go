package assemble_test

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/tools/testserver"
)

// TestQ16_RegsyncOfManyRepositories copies 60 repositories, then 300, each time
// in one process of regsync: from another registry to Berth, and from Berth to
// Berth, where one host is asked for many scopes to pull and the other for many
// to push. regsync keeps the scopes of all repositories, the newest last, and
// never asks again for one that it sent.
func TestQ16_RegsyncOfManyRepositories(t *testing.T) {
	t.Parallel()
	const few, most, workers = 60, 300, 6
	w := startEmbedded(t, conformanceSeed)
	edge := startEdge(t, w.nodes[0])
	w = newWorld(t, edge, w.nodes...)
	// Long enough that the grants of a token are packed, and still all granted.
	name := func(i int) string {
		return fmt.Sprintf("mirror/department-of-many-words/team-%d/application-%s", i%7, digest.FromString(fmt.Sprint(i)).Encoded()[:8])
	}
	wantManyGrants(t, w, most, name)

	const berth, other = "conformance.localhost", "sparse.conformance.localhost"
	elsewhere := testserver.StartRegistry(t, testserver.RegistryOptions{})
	source, err := url.Parse(elsewhere.Direct())
	if err != nil {
		t.Fatal(err)
	}
	images := make([]ocitest.Image, most)
	var pushes sync.WaitGroup
	for worker := range workers {
		pushes.Go(func() {
			for i := worker; i < most; i += workers {
				images[i] = ocitest.NewImage(uint64(i), 16)
				elsewhere.Push(t, name(i), images[i], "latest")
			}
		})
	}
	if pushes.Wait(); t.Failed() {
		t.FailNow()
	}
	for _, n := range []int{few, most} {
		for _, way := range [][2]string{{source.Host, berth}, {berth, other}} {
			regsync(t, edge, way[0], way[1], n, name)
			for i := range n {
				r := repository{deployment: w.conformance(), name: name(i)}
				r.base = w.registry(way[1])
				r.wantManifest(t, "latest", made(images[i].Index))
			}
		}
	}
}

// wantManyGrants checks that these names make a token that is not small.
func wantManyGrants(t *testing.T, w *world, n int, name func(int) string) {
	t.Helper()
	query := url.Values{"service": {"conformance.localhost"}}
	for i := range n {
		query.Add("scope", "repository:"+name(i)+":pull,push")
	}
	var got struct{ Token, Scope string }
	decode(t, w.as("suite"), w.registry("conformance.localhost")+"/token?"+query.Encode(), "", &got)
	if len(strings.Fields(got.Scope)) != n || len(got.Token) < 4<<10 {
		t.Fatalf("%d scopes are granted by a token of %d bytes", len(strings.Fields(got.Scope)), len(got.Token))
	}
}

// regsync copies the first n repositories from one host to the other.
func regsync(t *testing.T, edge, from, to string, n int, name func(int) string) {
	t.Helper()
	dir := t.TempDir()
	var config strings.Builder
	config.WriteString("version: 1\ncreds:\n")
	for _, host := range []string{from, to} {
		fmt.Fprintf(&config, "  - {registry: %q, tls: disabled", host)
		if strings.HasSuffix(host, ".localhost") {
			fmt.Fprintf(&config, ", user: suite, pass: %q", accountSecret)
		}
		config.WriteString("}\n")
	}
	config.WriteString("defaults: {parallel: 3}\nsync:\n")
	for i := range n {
		fmt.Fprintf(&config, "  - {source: '%s/%s', target: '%s/%[2]s', type: repository}\n", from, name(i), to)
	}
	file := filepath.Join(dir, "regsync.yaml")
	if err := os.WriteFile(file, []byte(config.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, testserver.Program(t, "regsync"), "once", "-c", file)
	// The edge takes the requests for names that resolve nowhere. regsync looks
	// at the proxy for https, too, before it asks for a token: without one it
	// resolves the host, and where DNS is silent waits for it each time.
	cmd.Env = []string{"HOME=" + dir, "HTTP_PROXY=http://" + edge, "HTTPS_PROXY=http://" + edge}
	began := time.Now()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("regsync of %d repositories from %s to %s: %v after %v\n%s", n, from, to, err, time.Since(began), clip(string(out)))
	}
	t.Logf("%d repositories from %s to %s in %v", n, from, to, time.Since(began).Round(time.Millisecond))
}
