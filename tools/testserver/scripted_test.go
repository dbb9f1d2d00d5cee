package testserver_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/tools/internal/ociclient"
	"github.com/berth-registry/berth/tools/testserver"
)

// puller is a client that believes nothing.
type puller struct {
	t        *testing.T
	upstream *testserver.Scripted
	http     *http.Client
}

func newPuller(t *testing.T, s *testserver.Scripted, patience time.Duration) *puller {
	return &puller{t: t, upstream: s, http: &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true}}}
}

// pull asks for content by digest and by tag, if it has one.
func (p *puller) pull(part testserver.Part, c ocitest.Content, tag string) testserver.Outcome {
	p.t.Helper()
	for _, reference := range []string{tag, c.Digest.String()} {
		if reference == "" {
			continue
		}
		if got := p.ask(part, reference, c); got != testserver.OutcomeFound {
			return got
		}
	}
	return testserver.OutcomeFound
}

func (p *puller) ask(part testserver.Part, reference string, want ocitest.Content) testserver.Outcome {
	p.t.Helper()
	path := p.upstream.URL() + "/v2/" + testserver.ScriptedName + "/" + string(part) + "/" + reference
	resp, body, err := p.get(path, "")
	if err == nil && resp.StatusCode == http.StatusUnauthorized {
		token, outcome := p.login(resp.Header.Get("WWW-Authenticate"))
		if outcome != testserver.OutcomeFound {
			return outcome
		}
		resp, body, err = p.get(path, token)
	}
	if err != nil || resp.StatusCode != http.StatusOK {
		return outcomeOf(resp, body, err)
	}
	digest := resp.Header.Get("Docker-Content-Digest")
	if oci.DigestOf(oci.SHA256, body) != want.Digest || digest != "" && digest != want.Digest.String() ||
		part == testserver.PartManifests && resp.Header.Get("Content-Type") != want.MediaType {
		return testserver.OutcomeOutage
	}
	return testserver.OutcomeFound
}

func (p *puller) get(path, token string) (*http.Response, []byte, error) {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, path, http.NoBody)
	if err != nil {
		p.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := p.http.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	const most = 4 << 20
	body, err := io.ReadAll(io.LimitReader(resp.Body, most+1))
	if err == nil && len(body) > most {
		err = errors.New("too long")
	}
	return resp, body, err
}

var (
	challenge   = regexp.MustCompile(`^Bearer realm="([^"]+)",service="([^"]+)",scope="([^"]+)"$`)
	tokenMember = regexp.MustCompile(`"token":"([^"]+)"`)
)

func (p *puller) login(header string) (string, testserver.Outcome) {
	p.t.Helper()
	m := challenge.FindStringSubmatch(header)
	if m == nil {
		return "", testserver.OutcomeOutage
	}
	resp, body, err := p.get(m[1]+"?"+url.Values{"service": {m[2]}, "scope": {m[3]}}.Encode(), "")
	if err != nil || resp.StatusCode != http.StatusOK {
		return "", outcomeOf(resp, body, err)
	}
	if len(body) > 64<<10 {
		return "", testserver.OutcomeOutage
	}
	token := tokenMember.FindSubmatch(body)
	if token == nil {
		return "", testserver.OutcomeOutage
	}
	return string(token[1]), testserver.OutcomeFound
}

// outcomeOf is of an answer that is not 200. Only the registry that was asked can
// say that it does not have it.
func outcomeOf(resp *http.Response, body []byte, err error) testserver.Outcome {
	switch {
	case err != nil:
		return testserver.OutcomeOutage
	case resp.Request.Response != nil: // after a redirect
		return testserver.OutcomeOutage
	case resp.StatusCode == http.StatusNotFound && (bytes.Contains(body, []byte("MANIFEST_UNKNOWN")) || bytes.Contains(body, []byte("BLOB_UNKNOWN"))):
		return testserver.OutcomeNotHere
	case resp.StatusCode == http.StatusUnauthorized, resp.StatusCode == http.StatusForbidden:
		return testserver.OutcomeDenied
	case resp.StatusCode == http.StatusTooManyRequests:
		return testserver.OutcomeRateLimited
	default:
		return testserver.OutcomeOutage
	}
}

// check plays the fault on each part of content that it concerns.
func check(t *testing.T, f testserver.Fault, patience time.Duration) {
	t.Helper()
	s := testserver.StartScripted(t)
	s.RequireToken("", "")
	p := newPuller(t, s, patience)
	played := 0
	for _, c := range []struct {
		part testserver.Part
		tag  string
		want ocitest.Content
	}{
		{testserver.PartManifests, testserver.ScriptedTag, s.Image.Index},
		{testserver.PartBlobs, "", s.Image.Layers[1]},
	} {
		if on := f.On(); len(on) > 0 && !slices.Contains(on, c.part) && !slices.Contains(on, testserver.PartToken) {
			continue
		}
		played++
		s.Script(f)
		if got := p.pull(c.part, c.want, c.tag); got != f.Outcome() {
			t.Errorf("%s: %q, want %q", c.part, got, f.Outcome())
		}
		s.Script(testserver.FaultNone)
		p.http.Timeout = time.Minute
		if got := p.pull(c.part, c.want, c.tag); got != testserver.OutcomeFound {
			t.Errorf("%s afterwards: %q", c.part, got)
		}
		p.http.Timeout = patience
	}
	if played == 0 {
		t.Error("it concerns nothing that is pulled")
	}
}

// waits says whether a fault ends only by the client's patience.
func waits(f testserver.Fault) bool {
	switch f {
	case testserver.FaultStallBefore, testserver.FaultStallInBody, testserver.FaultSlow, testserver.FaultTokenStall, testserver.CorruptNoEnd:
		return true
	default:
		return false
	}
}

func patienceFor(f testserver.Fault) time.Duration {
	if waits(f) {
		return 200 * time.Millisecond
	}
	return time.Minute
}

func TestE10_EveryFaultHasItsOutcome(t *testing.T) {
	if n := len(testserver.Faults()); n < 25 {
		t.Errorf("%d faults, want 25 at least", n)
	}
	for _, f := range testserver.Faults() {
		t.Run(f.String(), func(t *testing.T) { check(t, f, patienceFor(f)) })
	}
}

func TestE6_EveryCorruptionIsAnOutage(t *testing.T) {
	if n := len(testserver.Corruptions()); n != 12 {
		t.Errorf("%d corruptions, want 12", n)
	}
	for _, f := range testserver.Corruptions() {
		t.Run(f.String(), func(t *testing.T) { check(t, f, patienceFor(f)) })
	}
}

// A client of others finds all of it.
func TestScripted_IsARegistryToDistribution(t *testing.T) {
	for _, tokens := range []bool{false, true} {
		s := testserver.StartScripted(t)
		if tokens {
			s.RequireToken("", "")
		}
		cache := testserver.StartRegistry(t, testserver.RegistryOptions{ProxyTo: s.URL()})
		c := &ociclient.Client{Base: cache.URL(), HTTP: http.DefaultClient}
		pull(t, c, testserver.ScriptedName, testserver.ScriptedTag, s.Image)
		if got := s.Count(http.MethodGet, "/token"); (got > 0) != tokens {
			t.Errorf("tokens %v: %d token calls", tokens, got)
		}
		if got := s.Count(http.MethodGet, "/v2/library/app/blobs/"+s.Image.Layers[1].Digest.String()); got == 0 {
			t.Error("the layer came from elsewhere")
		}
		if _, found, err := c.Manifest(t.Context(), testserver.ScriptedName, "unknown"); found {
			t.Errorf("an unknown tag: found, %v", err)
		}
	}
}

func TestScripted_TokensOfTheAccount(t *testing.T) {
	s := testserver.StartScripted(t)
	s.RequireToken(testserver.RegistryUser, testserver.RegistryPassword)
	p := newPuller(t, s, time.Minute)
	if got := p.pull(testserver.PartManifests, s.Image.Index, ""); got != testserver.OutcomeDenied {
		t.Errorf("anybody: %q", got)
	}
	s.RequireToken("", "")
	resp, _, err := p.get(s.URL()+"/v2/", "")
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		t.Fatalf("ping: %v, %v", resp, err)
	}
	manifest := s.URL() + "/v2/library/app/manifests/1"
	ask := func(token string, want int) {
		t.Helper()
		if resp, _, err := p.get(manifest, token); err != nil || resp.StatusCode != want {
			t.Errorf("%v, %v; want %d", resp, err, want)
		}
	}
	realm := fmt.Sprintf(`Bearer realm="%s/token",service="s",scope="repository:`, s.URL())
	token, _ := p.login(realm + `library/app:pull"`)
	ask(token, http.StatusOK)
	s.ExpireTokens()
	ask(token, http.StatusUnauthorized)
	another, _ := p.login(realm + `another/app:pull"`)
	ask(another, http.StatusUnauthorized)
	s.SetChallenge(`Bearer realm="http://elsewhere/"`)
	if resp, _, err := p.get(manifest, ""); err != nil || resp.Header.Get("WWW-Authenticate") != `Bearer realm="http://elsewhere/"` {
		t.Errorf("challenge: %v, %v", resp, err)
	}
}

func TestScripted_PlaysSoOften(t *testing.T) {
	s := testserver.StartScripted(t)
	p := newPuller(t, s, time.Minute)
	layer := s.Image.Layers[0]
	s.Play(testserver.Script{Fault: testserver.Fault503, On: []testserver.Part{testserver.PartBlobs}, Times: 2})
	for i, want := range []testserver.Outcome{testserver.OutcomeOutage, testserver.OutcomeOutage, testserver.OutcomeFound} {
		if got := p.pull(testserver.PartManifests, s.Image.Index, ""); got != testserver.OutcomeFound {
			t.Errorf("a manifest: %q", got)
		}
		if got := p.pull(testserver.PartBlobs, layer, ""); got != want {
			t.Errorf("blob %d: %q, want %q", i, got, want)
		}
	}
	s.Play(testserver.Script{Fault: testserver.FaultResetOnAccept, Times: 1})
	before := s.Connections()
	for i, want := range []testserver.Outcome{testserver.OutcomeOutage, testserver.OutcomeFound} {
		if got := p.pull(testserver.PartBlobs, layer, ""); got != want {
			t.Errorf("connection %d: %q, want %q", i, got, want)
		}
	}
	if got := s.Connections() - before; got < 2 {
		t.Errorf("%d connections", got)
	}
}

// TestR39_BreaksWhereItIsTold: so many bytes come right.
func TestR39_BreaksWhereItIsTold(t *testing.T) {
	s := testserver.StartScripted(t)
	layer := s.Image.Layers[1]
	for _, f := range []testserver.Fault{testserver.FaultTruncated, testserver.FaultStallInBody, testserver.CorruptCut} {
		for _, at := range []int64{1, 1000, int64(len(layer.Bytes)) - 1} {
			s.Play(testserver.Script{Fault: f, At: at})
			p := newPuller(t, s, 200*time.Millisecond)
			if !waits(f) {
				p.http.Timeout = time.Minute
			}
			_, got, err := p.get(s.URL()+"/v2/library/app/blobs/"+layer.Digest.String(), "")
			if err == nil || !bytes.Equal(got, layer.Bytes[:at]) {
				t.Errorf("%s at %d: %d bytes, %v", f, at, len(got), err)
			}
		}
	}
}

func TestScripted_RedirectsAndRanges(t *testing.T) {
	s := testserver.StartScripted(t)
	layer := s.Image.Layers[1]
	path := s.URL() + "/v2/library/app/blobs/" + layer.Digest.String()
	s.RedirectBlobs(s.CDN.URL())
	for range 2 {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Range", "bytes=1000-1999")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusPartialContent || !bytes.Equal(got, layer.Bytes[1000:2000]) {
			t.Errorf("%d, %d bytes, %v", resp.StatusCode, len(got), err)
		}
		s.RedirectBlobs("")
	}
	s.RedirectBlobs(s.CDN.URL())
	p := newPuller(t, s, time.Minute)
	s.Script(testserver.FaultTruncated, testserver.PartCDN)
	if got := p.pull(testserver.PartBlobs, layer, ""); got != testserver.OutcomeOutage {
		t.Errorf("by a CDN that fails: %q", got)
	}
	s.Script(testserver.FaultNone)
	if got := p.pull(testserver.PartBlobs, layer, ""); got != testserver.OutcomeFound {
		t.Errorf("by a CDN that does not: %q", got)
	}
	if s.CDN.Count(http.MethodGet, "/"+layer.Digest.String()) != 3 || s.Count(http.MethodGet, "/v2/library/app/blobs/*") != 4 {
		t.Errorf("CDN %v, registry %v", s.CDN.Requests(), s.Requests())
	}
}

func TestScripted_ListsTagsAndReferrers(t *testing.T) {
	s := testserver.StartScripted(t)
	p := newPuller(t, s, time.Minute)
	get := func(path string) (string, http.Header) {
		t.Helper()
		resp, body, err := p.get(s.URL()+path, "")
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %v, %v", path, resp, err)
		}
		return string(body), resp.Header
	}
	body, header := get("/v2/library/app/tags/list?n=1")
	if body != `{"name":"library/app","tags":["1"]}` || header.Get("Link") != `</v2/library/app/tags/list?last=1&n=1>; rel="next"` {
		t.Errorf("%s, %v", body, header)
	}
	if body, header = get("/v2/library/app/tags/list?last=1&n=1"); body != `{"name":"library/app","tags":["single"]}` || header.Get("Link") != "" {
		t.Errorf("%s, %v", body, header)
	}
	referrers := "/v2/library/app/referrers/" + s.Image.Index.Digest.String()
	if body, _ = get(referrers); !strings.Contains(body, `"manifests":[]`) {
		t.Errorf("referrers: %s", body)
	}
	signature := ocitest.Extra{ArtifactType: "test/signature", Subject: &s.Image.Index.Descriptor}.Manifest(ocitest.Empty())
	s.PushManifest(testserver.ScriptedName, signature)
	if body, _ = get(referrers); !strings.Contains(body, signature.Digest.String()) || !strings.Contains(body, "test/signature") {
		t.Errorf("referrers: %s", body)
	}
	s.Script(testserver.FaultGzipBomb)
	resp, err := http.DefaultClient.Get(s.URL() + "/v2/library/app/manifests/1") // it unzips
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if n, err := io.CopyN(io.Discard, resp.Body, 32<<20); err != nil {
		t.Errorf("the bomb has %d bytes, %v", n, err)
	}
	s.Script(testserver.FaultMillionTags)
	if _, _, err := p.get(s.URL()+"/v2/library/app/tags/list", ""); err == nil {
		t.Error("1,000,000 tags fit in 4 MiB")
	}
	s.Script(testserver.FaultNone)
	s.Delete(testserver.ScriptedName)
	if got := p.pull(testserver.PartManifests, s.Image.Index, ""); got != testserver.OutcomeNotHere {
		t.Errorf("after Delete: %q", got)
	}
}
