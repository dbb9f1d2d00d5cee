package upstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
)

func TestManifest_Found(t *testing.T) {
	var asked *http.Request
	c := serve(t, patient(), func(w http.ResponseWriter, r *http.Request) {
		asked = r
		sendImage(w, r)
	})
	digest := oci.DigestOf(oci.SHA256, image())
	for _, ref := range []oci.Reference{latest, {Digest: digest}} {
		m, err := c.Manifest(t.Context(), "acme/app", ref)
		if err != nil || m.Digest != digest || m.MediaType != oci.MediaTypeImageManifest || !bytes.Equal(m.Payload, image()) {
			t.Errorf("%s: %+v, %v", ref, m, err)
		}
		if asked.Method != http.MethodGet || asked.URL.Path != "/v2/acme/app/manifests/"+ref.String() || asked.Header.Get("Authorization") != "" {
			t.Errorf("asked %s %s", asked.Method, asked.URL)
		}
		for _, kind := range []string{oci.MediaTypeImageIndex, oci.MediaTypeImageManifest, oci.MediaTypeDocker, oci.MediaTypeDockerList} {
			if !strings.Contains(asked.Header.Get("Accept"), kind) {
				t.Errorf("%s is not accepted", kind)
			}
		}
		if asked.Header.Get("Accept-Encoding") != "identity" {
			t.Errorf("Accept-Encoding is %q", asked.Header.Get("Accept-Encoding"))
		}
	}
	wide := oci.DigestOf(oci.SHA512, image())
	if m, err := c.Manifest(t.Context(), "acme/app", oci.Reference{Digest: wide}); err != nil || m.Digest != wide {
		t.Errorf("by sha512, with a right claim of sha256: %v", err)
	}
	if _, err := c.Manifest(t.Context(), "../../etc", latest); !fault.Is(err, fault.NameInvalid) {
		t.Errorf("a name that is a path: %v", err)
	}
}

// answerOf is an upstream with one answer to all.
func answerOf(t *testing.T, contentType, claim string, body []byte) *Client {
	return serve(t, patient(), func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"] = []string{contentType}
		if claim != "" {
			w.Header().Set("Docker-Content-Digest", claim)
		}
		_, _ = w.Write(body)
	})
}

func TestE7_LyingDigestHeader(t *testing.T) {
	right := oci.DigestOf(oci.SHA256, image())
	other := oci.DigestOf(oci.SHA256, []byte("other"))
	for _, c := range []struct {
		claim string
		ok    bool
	}{
		{right.String(), true},
		{oci.DigestOf(oci.SHA512, image()).String(), true},
		{"", true},
		{"blake3:" + strings.Repeat("ab", 32), true}, // cannot be checked here
		{other.String(), false},
		{oci.DigestOf(oci.SHA512, []byte("other")).String(), false},
		{strings.ToUpper(right.String()), true}, // another algorithm's name
		{"sha256:" + strings.ToUpper(right.Hex()), false},
		{"sha256:" + right.Hex()[:63], false},
		{"sha256:", false},
		{"sha256", false},
	} {
		client := answerOf(t, oci.MediaTypeImageManifest, c.claim, image())
		for _, ref := range []oci.Reference{latest, {Digest: right}} {
			m, err := client.Manifest(t.Context(), "a/b", ref)
			if c.ok {
				if err != nil || m.Digest != right {
					t.Errorf("%q by %s: %v", c.claim, ref, err)
				}
				continue
			}
			if e := wantOutage(t, err); e.Fault().Kind != fault.BadUpstream {
				t.Errorf("%q by %s: %v", c.claim, ref, err)
			}
		}
		if _, err := client.Manifest(t.Context(), "a/b", oci.Reference{Digest: other}); OutcomeOf(err) != Outage {
			t.Errorf("%q by another digest: %v", c.claim, err)
		}
	}
}

// TestR40_CorruptManifests: each is an outage, by tag and by digest.
func TestR40_CorruptManifests(t *testing.T) {
	flipped := bytes.Clone(image())
	flipped[len(flipped)-2] ^= 1
	index := ocitest.Index().Bytes
	digest := oci.DigestOf(oci.SHA256, image())
	for name, c := range map[string]struct {
		contentType string
		body        []byte
	}{
		"flipped bit":               {oci.MediaTypeImageManifest, flipped},
		"short by one":              {oci.MediaTypeImageManifest, image()[:len(image())-1]},
		"doubled":                   {oci.MediaTypeImageManifest, append(image(), image()...)},
		"trailing garbage":          {oci.MediaTypeImageManifest, append(image(), '}')},
		"empty":                     {oci.MediaTypeImageManifest, nil},
		"null":                      {oci.MediaTypeImageManifest, []byte("null")},
		"a page":                    {"text/html; charset=utf-8", []byte("<html>Please log in</html>")},
		"a page that says it is":    {oci.MediaTypeImageManifest, []byte("<html>Please log in</html>")},
		"an error with 200":         {"application/json", []byte(`{"errors":[{"code":"MANIFEST_UNKNOWN"}]}`)},
		"an index as an image":      {oci.MediaTypeImageManifest, index},
		"schema 1":                  {"application/vnd.docker.distribution.manifest.v1+prettyjws", []byte(`{"schemaVersion":1,"fsLayers":[]}`)},
		"another type":              {"application/vnd.cncf.helm.config.v1+json", index},
		"an image as an index":      {oci.MediaTypeImageIndex, image()},
		"deep":                      {oci.MediaTypeImageManifest, []byte(strings.Repeat("[", 100_000))},
		"4 MiB and one byte":        {oci.MediaTypeImageManifest, append(image(), bytes.Repeat([]byte(" "), oci.MaxManifest+1-len(image()))...)},
		"named twice":               {oci.MediaTypeImageManifest, []byte(`{"schemaVersion":2,"schemaVersion":2}`)},
		"page as an image by type":  {"text/html", image()},
		"a type that is not a text": {oci.MediaTypeImageIndex, []byte(`{"schemaVersion":2,"artifactType":"a\u0000b","manifests":[]}`)},
	} {
		t.Run(name, func(t *testing.T) {
			client := answerOf(t, c.contentType, "", c.body)
			for _, ref := range []oci.Reference{latest, {Digest: digest}} {
				_, err := client.Manifest(t.Context(), "a/b", ref)
				if name == "flipped bit" && ref.Tag != "" && err == nil {
					continue // by tag nothing says that these are not its bytes
				}
				if e := wantOutage(t, err); e.Fault().Kind != fault.BadUpstream {
					t.Errorf("by %s: %v", ref, err)
				}
			}
			if s := client.Status(); s.State != "closed" || s.Failure == "" {
				t.Errorf("%+v", s)
			}
		})
	}
}

// TestR40_GeneralMediaTypes: registries made of files know no manifest types.
func TestR40_GeneralMediaTypes(t *testing.T) {
	untyped := []byte(`{"schemaVersion":2,"manifests":[]}`)
	for _, contentType := range []string{"application/json", "application/octet-stream", "text/plain; charset=utf-8", ""} {
		m, err := answerOf(t, contentType, "", image()).Manifest(t.Context(), "a/b", latest)
		if err != nil || m.MediaType != oci.MediaTypeImageManifest {
			t.Errorf("%q: %+v, %v", contentType, m, err)
		}
		_, err = answerOf(t, contentType, "", untyped).Manifest(t.Context(), "a/b", latest)
		wantOutage(t, err)
	}
	m, err := answerOf(t, oci.MediaTypeImageIndex+"; charset=utf-8", "", untyped).Manifest(t.Context(), "a/b", latest)
	if err != nil || m.MediaType != oci.MediaTypeImageIndex {
		t.Errorf("type in the header alone: %+v, %v", m, err)
	}
}

func TestHeadManifest(t *testing.T) {
	digest := oci.DigestOf(oci.SHA256, image())
	methods := ""
	var head http.HandlerFunc
	client := func() *Client {
		return serve(t, patient(), func(w http.ResponseWriter, r *http.Request) {
			methods += r.Method + " "
			if r.Method == http.MethodHead {
				head(w, r)
				return
			}
			sendImage(w, r)
		})
	}
	status := func(n int) http.HandlerFunc { return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(n) } }
	claims := func(digest string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", oci.MediaTypeImageManifest)
			w.Header().Set("Docker-Content-Digest", digest)
		}
	}
	for name, c2 := range map[string]struct {
		head    http.HandlerFunc
		methods string
		outcome Outcome
		size    int64
	}{
		"complete":        {sendImage, "HEAD ", Found, int64(len(image()))},
		"without size":    {claims(digest.String()), "HEAD ", Found, -1},
		"without digest":  {claims(""), "HEAD GET ", Found, int64(len(image()))},
		"a digest not so": {claims("md5:abc"), "HEAD GET ", Found, int64(len(image()))},
		"no HEAD":         {status(405), "HEAD GET ", Found, int64(len(image()))},
		"not implemented": {status(501), "HEAD GET ", Found, int64(len(image()))},
		"a page": {func(w http.ResponseWriter, r *http.Request) {
			claims(digest.String())(w, r)
			w.Header().Set("Content-Type", "text/html")
		}, "HEAD GET ", Found, int64(len(image()))},
		"not here": {status(404), "HEAD ", NotHere, 0},
		"refused":  {status(403), "HEAD GET ", Found, int64(len(image()))},
		"outage":   {status(500), "HEAD ", Outage, 0},
	} {
		methods, head = "", c2.head
		d, err := client().HeadManifest(t.Context(), "a/b", "latest")
		if OutcomeOf(err) != c2.outcome || methods != c2.methods {
			t.Errorf("%s: %v after %s", name, err, methods)
		}
		if err == nil && (d.Digest != digest || d.Size != c2.size && c2.size >= 0 || d.MediaType != oci.MediaTypeImageManifest) {
			t.Errorf("%s: %+v", name, d)
		}
	}
}

// TestR37_WhatFailuresComeTo: what users are told of each kind of failure.
func TestR37_WhatFailuresComeTo(t *testing.T) {
	for status, want := range map[int]fault.Kind{
		404: fault.NotFound, 401: fault.Denied, 403: fault.Denied, 429: fault.TooMany, 504: fault.UpstreamTimeout,
		400: fault.BadUpstream, 402: fault.BadUpstream, 405: fault.BadUpstream, 406: fault.BadUpstream, 408: fault.BadUpstream, 410: fault.BadUpstream,
		418: fault.BadUpstream, 421: fault.BadUpstream, 451: fault.BadUpstream, 500: fault.BadUpstream, 501: fault.BadUpstream, 502: fault.BadUpstream,
		503: fault.BadUpstream, 507: fault.BadUpstream, 508: fault.BadUpstream, 599: fault.BadUpstream, 201: fault.BadUpstream, 202: fault.BadUpstream,
		204: fault.BadUpstream, 206: fault.BadUpstream, 300: fault.BadUpstream, 304: fault.BadUpstream,
	} {
		c := serve(t, patient(), func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
		_, err := c.Manifest(t.Context(), "a/b", latest)
		var e *Error
		if !errors.As(err, &e) || fault.KindOf(err) != want || e.Status != status || strings.Contains(fault.From(err).Message, "127.0.0.1") {
			t.Errorf("%d: %v", status, err)
		}
		if want == fault.NotFound && !fault.Is(err, fault.ManifestUnknown) {
			t.Errorf("%d: %v", status, err)
		}
	}
	c := serve(t, patient(), http.NotFound)
	if _, err := c.Blob(t.Context(), "a/b", oci.DigestOf(oci.SHA256, nil), -1); !fault.Is(err, fault.BlobUnknown) {
		t.Error(err)
	}
	if _, err := allTags(t.Context(), c, 10); !fault.Is(err, fault.NameUnknown) {
		t.Error(err)
	}
}

func TestOutcomeOf(t *testing.T) {
	for _, c := range []struct {
		err  error
		want Outcome
	}{
		{nil, Found},
		{&Error{Outcome: NotHere}, NotHere},
		{fmt.Errorf("asking: %w", &Error{Outcome: Denied}), Denied},
		{context.Canceled, Outage},
		{errors.New("x"), Outage},
	} {
		if got := OutcomeOf(c.err); got != c.want {
			t.Errorf("%v: %s", c.err, got)
		}
	}
}

// TestManifest_TheCallerLeaves is no failure of the upstream.
func TestManifest_TheCallerLeaves(t *testing.T) {
	asked, end := make(chan struct{}), make(chan struct{})
	c := serve(t, patient(), func(http.ResponseWriter, *http.Request) {
		close(asked)
		<-end
	})
	defer close(end)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-asked
		cancel()
	}()
	_, err := c.Manifest(ctx, "a/b", latest)
	if !errors.Is(err, context.Canceled) || fault.KindOf(err) != fault.Unavailable || OutcomeOf(err) != Outage {
		t.Errorf("%v", err)
	}
	if s := c.Status(); !s.FailedAt.IsZero() || s.State != "closed" {
		t.Errorf("%+v", s)
	}
}

func TestManifest_StalledAnswer(t *testing.T) {
	end := make(chan struct{})
	l := patient()
	l.answer = 100 * time.Millisecond
	c := serve(t, l, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", oci.MediaTypeImageManifest)
		_, _ = w.Write(image()[:10])
		_ = http.NewResponseController(w).Flush()
		<-end
	})
	defer close(end)
	_, err := c.Manifest(t.Context(), "a/b", latest)
	if e := wantOutage(t, err); !e.Timeout || e.Fault().Kind != fault.UpstreamTimeout {
		t.Errorf("%+v", e)
	}
}

func TestManifest_OverHTTP2(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 {
			w.WriteHeader(http.StatusHTTPVersionNotSupported)
			return
		}
		sendImage(w, r)
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	cs := newClients(Options{Allow: loopback}, patient())
	cs.transport = egress{guard: guard{allow: loopback}, limits: patient(), roots: always(s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs)}.transport()
	if _, err := clientOf(t, cs, Config{Target: Target{URL: s.URL}}).Manifest(t.Context(), "a/b", latest); err != nil {
		t.Error(err)
	}
}
