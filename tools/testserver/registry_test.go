package testserver_test

import (
	"encoding/json"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/tools/internal/ociclient"
	"github.com/berth-registry/berth/tools/testserver"
)

// pull reads an image by its tag, and holds all of it against img.
func pull(t *testing.T, c *ociclient.Client, name, tag string, img ocitest.Image) {
	t.Helper()
	for reference, want := range map[string]ocitest.Content{tag: img.Index, img.Manifest.Digest.String(): img.Manifest} {
		if got, found, err := c.Manifest(t.Context(), name, reference); err != nil || !found || oci.DigestOf(oci.SHA256, got) != want.Digest {
			t.Fatalf("manifest %s: found %v, %d bytes, %v", reference, found, len(got), err)
		}
	}
	for _, b := range img.Blobs() {
		if got, found, err := c.Blob(t.Context(), name, b.Digest.String()); err != nil || !found || oci.DigestOf(oci.SHA256, got) != b.Digest {
			t.Fatalf("blob %s: found %v, %d bytes, %v", b.Digest, found, len(got), err)
		}
	}
}

func TestRegistry_CountsWhatComesByTheDoor(t *testing.T) {
	r := testserver.StartRegistry(t, testserver.RegistryOptions{})
	img := ocitest.NewImage(1, 100, 70_000)
	r.Push(t, "library/app", img, "1", "latest")
	if got := r.Requests(); len(got) > 0 {
		t.Errorf("a push past the door was counted: %v", got)
	}
	c := &ociclient.Client{Base: r.URL(), HTTP: http.DefaultClient}
	pull(t, c, "library/app", "1", img)
	pull(t, c, "library/app", "latest", img)
	layer := "/v2/library/app/blobs/" + img.Layers[1].Digest.String()
	for path, want := range map[string]int{
		layer: 2, "/v2/library/app/manifests/1": 1, "/v2/library/app/blobs/*": 6, "/v2/library/app/tags/list": 0,
	} {
		if got := r.Count(http.MethodGet, path); got != want {
			t.Errorf("GET %s: %d times, want %d", path, got, want)
		}
	}
	if got := r.Count(http.MethodHead, layer); got != 0 {
		t.Errorf("%d HEADs", got)
	}
	r.Forget()
	if got := r.Count("", "*"); got != 0 {
		t.Errorf("%d requests after Forget", got)
	}
}

func TestRegistry_StopsAndWaits(t *testing.T) {
	r := testserver.StartRegistry(t, testserver.RegistryOptions{})
	ping := func() error {
		resp, err := http.Get(r.URL() + "/v2/")
		if err == nil {
			resp.Body.Close()
		}
		return err
	}
	r.Stop()
	if conn, err := net.Dial("tcp", r.Addr()); err == nil {
		conn.Close()
		t.Error("a stopped registry takes connections")
	}
	r.Start()
	if err := ping(); err != nil {
		t.Errorf("after Start: %v", err)
	}
	const latency = 50 * time.Millisecond
	r.SetLatency(latency)
	if begin, err := time.Now(), ping(); err != nil || time.Since(begin) < latency {
		t.Errorf("answered in %s, %v", time.Since(begin), err)
	}
	r.SetLatency(time.Hour)
	answered := make(chan error, 1)
	go func() { answered <- ping() }()
	await.True(t, 30*time.Second, "the request arrives", func() bool { return r.Count(http.MethodGet, "/v2/") >= 3 })
	r.Stop()
	if err := <-answered; err == nil {
		t.Error("a request was answered by a registry that was stopped")
	}
}

// token asks the registry's token server, as user unless that is "".
func token(t *testing.T, r *testserver.Registry, user, password, scope string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.Tokens.URL()+"/token?service=registry.test&scope="+scope, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if user != "" {
		req.SetBasicAuth(user, password)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct{ Token string }
	if resp.StatusCode == http.StatusOK {
		if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
			t.Fatal(err)
		}
	}
	return resp.StatusCode, answer.Token
}

func TestRegistry_AsksForTokens(t *testing.T) {
	for _, anonymous := range []bool{false, true} {
		r := testserver.StartRegistry(t, testserver.RegistryOptions{Token: true, Anonymous: anonymous})
		img := ocitest.NewImage(2, 100)
		r.Push(t, "team/app", img, "1")
		c := &ociclient.Client{Base: r.URL(), HTTP: http.DefaultClient}
		_, _, err := c.Manifest(t.Context(), "team/app", "1")
		if ociclient.StatusOf(err) != http.StatusUnauthorized {
			t.Errorf("without a token: %v", err)
		}
		c.Token = "not.a.token"
		if _, _, err = c.Manifest(t.Context(), "team/app", "1"); ociclient.StatusOf(err) != http.StatusUnauthorized {
			t.Errorf("with a wrong token: %v", err)
		}
		const scope = "repository:team/app:pull,push"
		if status, _ := token(t, r, testserver.RegistryUser, "wrong", scope); status != http.StatusUnauthorized {
			t.Errorf("a wrong password: %d", status)
		}
		status, anybodys := token(t, r, "", "", scope)
		if (status == http.StatusOK) != anonymous {
			t.Errorf("anonymous %v: %d", anonymous, status)
		}
		if anonymous {
			c.Token = anybodys
			pull(t, c, "team/app", "1", img)
			if err := c.PutManifest(t.Context(), "team/app", "2", img.Manifest.Bytes); ociclient.StatusOf(err) != http.StatusUnauthorized {
				t.Errorf("anyone may push: %v", err)
			}
		}
		_, c.Token = token(t, r, testserver.RegistryUser, testserver.RegistryPassword, scope)
		pull(t, c, "team/app", "1", img)
		if err := c.PutManifest(t.Context(), "team/app", "2", img.Manifest.Bytes); err != nil {
			t.Errorf("the account may not push: %v", err)
		}
		if _, _, err := c.Manifest(t.Context(), "another/app", "1"); ociclient.StatusOf(err) != http.StatusUnauthorized {
			t.Errorf("a token for another repository: %v", err)
		}
		if got := r.Tokens.Count(http.MethodGet, "/token"); got != 3 {
			t.Errorf("%d token calls, want 3", got)
		}
	}
}

func TestRegistry_PullsThrough(t *testing.T) {
	origin := testserver.StartRegistry(t, testserver.RegistryOptions{})
	img := ocitest.NewImage(3, 100, 5000)
	origin.Push(t, "library/app", img, "1")
	cache := testserver.StartRegistry(t, testserver.RegistryOptions{ProxyTo: origin.URL()})
	c := &ociclient.Client{Base: cache.URL(), HTTP: http.DefaultClient}
	pull(t, c, "library/app", "1", img)
	if got := origin.Count(http.MethodGet, "/v2/library/app/blobs/"+img.Layers[0].Digest.String()); got != 1 {
		t.Errorf("the origin was asked %d times for a layer", got)
	}
}
