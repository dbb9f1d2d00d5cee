package upstream

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
)

// asks counts what an upstream is asked, as "GET /v2/".
type asks struct {
	mu   sync.Mutex
	seen []string
}

func (a *asks) note(r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	path := r.URL.Path
	if i := strings.Index(path, "/manifests/"); i >= 0 {
		path = path[i+1:]
	}
	a.seen = append(a.seen, r.Method+" "+path)
}

func (a *asks) take() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := strings.Join(a.seen, ", ")
	a.seen = nil
	return all
}

// plainly starts an upstream that sends no header by itself.
func plainly(t *testing.T, cfg Config, h http.HandlerFunc) (*Client, *asks) {
	t.Helper()
	a := &asks{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.note(r)
		h(w, r)
	}))
	t.Cleanup(s.Close)
	cfg.URL = s.URL
	return clientOf(t, newClients(Options{Allow: loopback}, patient()), cfg), a
}

func says(status int, contentType, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

func errorBody(code string) string { return `{"errors":[{"code":"` + code + `","message":"x"}]}` }

// TestT1_WhoSaysNotHere pairs what is said of a manifest with what /v2/ says.
func TestT1_WhoSaysNotHere(t *testing.T) {
	const (
		json = "application/json"
		page = "<!DOCTYPE html><title>x</title>"
	)
	version := []string{"Docker-Distribution-Api-Version", "registry/2.0"}
	greetings := map[string]struct {
		h        http.HandlerFunc
		registry bool
	}{
		"200":             {says(200, json, "{}"), true},
		"200, empty":      {says(200, "text/plain", ""), true},
		"Bearer":          {says(401, json, "", "WWW-Authenticate", `Bearer realm="https://a.example/token"`), true},
		"Basic":           {says(401, "text/html", page, "WWW-Authenticate", `Basic realm="x"`), true},
		"200, a page":     {says(200, "text/html; charset=utf-8", page), false},
		"200, hidden":     {says(200, "", "\n "+page), false},
		"401 of others":   {says(401, json, "", "WWW-Authenticate", "Negotiate"), false},
		"401 of no one":   {says(401, json, ""), false},
		"404":             {says(404, json, errorBody("NAME_UNKNOWN"), version...), false},
		"403":             {says(403, json, errorBody("DENIED")), false},
		"500":             {says(500, json, ""), false},
		"302 to nowhere":  {says(302, json, ""), false},
		"a page, version": {says(200, "text/html", page, version...), false},
	}
	const (
		always = iota // it counts, and /v2/ is not asked
		settled
	)
	for name, c := range map[string]struct {
		h     http.HandlerFunc
		means int
		want  Outcome
	}{
		"MANIFEST_UNKNOWN":                {says(404, json, errorBody("MANIFEST_UNKNOWN")), always, NotHere},
		"NAME_UNKNOWN":                    {says(404, json, errorBody("NAME_UNKNOWN")), always, NotHere},
		"BLOB_UNKNOWN as text":            {says(404, "text/plain", errorBody("BLOB_UNKNOWN")), always, NotHere},
		"Harbor's NOT_FOUND":              {says(404, json, errorBody("NOT_FOUND")), always, NotHere},
		"version header":                  {says(404, "text/plain", "404 page not found", version...), always, NotHere},
		"another code":                    {says(404, json, errorBody("UNSUPPORTED")), settled, NotHere},
		"another code, version":           {says(404, json, errorBody("UNSUPPORTED"), version...), always, NotHere},
		"JSON of others":                  {says(404, json, `{"kind":"Status","code":404}`), settled, NotHere},
		"errors that are not objects":     {says(404, json, `{"errors":["MANIFEST_UNKNOWN"]}`), settled, NotHere},
		"page":                            {says(404, "text/html", page), settled, NotHere},
		"page, version":                   {says(404, "text/html", page, version...), settled, NotHere},
		"page without type, version":      {says(404, "", page, version...), settled, NotHere},
		"XML":                             {says(404, "application/xml", `<?xml version="1.0"?><Error/>`), settled, NotHere},
		"nothing":                         {says(404, "text/plain", ""), settled, NotHere},
		"denied":                          {says(403, json, errorBody("DENIED")), always, Denied},
		"denied by a page":                {says(403, "text/html", page), settled, Denied},
		"a 401 without a way in":          {says(401, "text/plain", "no"), settled, Denied},
		"a 401 that no client can answer": {says(401, json, "", "WWW-Authenticate", `Basic realm="x"`), always, Denied},
	} {
		for greeting, g := range greetings {
			client, asked := plainly(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/v2/" {
					g.h(w, r)
					return
				}
				c.h(w, r)
			})
			_, err := client.Manifest(t.Context(), "a/b", latest)
			want, requests := c.want, "GET manifests/latest"
			if c.means == settled {
				requests += ", GET /v2/"
				if !g.registry {
					want = Outage
				}
			}
			if got := OutcomeOf(err); got != want {
				t.Errorf("%s, /v2/ %s: %s, want %s: %v", name, greeting, got, want, err)
			}
			if got := asked.take(); got != requests {
				t.Errorf("%s, /v2/ %s: asked %s", name, greeting, got)
			}
		}
	}
}

// TestT1_HeadIsSettledAlike: it has no body that could say.
func TestT1_HeadIsSettledAlike(t *testing.T) {
	for registry, want := range map[bool]Outcome{true: NotHere, false: Outage} {
		client, asked := plainly(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/v2/" && registry {
				return
			}
			http.NotFound(w, r)
		})
		if _, err := client.HeadManifest(t.Context(), "a/b", "latest"); OutcomeOf(err) != want {
			t.Errorf("registry %v: %v", registry, err)
		}
		if got := asked.take(); got != "HEAD manifests/latest, GET /v2/" {
			t.Errorf("registry %v: asked %s", registry, got)
		}
	}
}

// TestT1_OneGreetingForAll who are answered 404 at a time.
func TestT1_OneGreetingForAll(t *testing.T) {
	client, asked := plainly(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v2/" {
			http.NotFound(w, r)
		}
	})
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if _, err := client.Manifest(t.Context(), "a/b", latest); OutcomeOf(err) != NotHere {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := strings.Count(asked.take(), "GET /v2/"); n != 1 {
		t.Errorf("/v2/ was asked %d times", n)
	}
}

// bearer is a registry that wants a token for what is said to be guarded.
func bearer(guarded func(*http.Request) bool, otherwise http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/token":
			if _, _, ok := r.BasicAuth(); !ok {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			fmt.Fprint(w, `{"token":"good"}`)
		case r.Header.Get("Authorization") == "Bearer good" && r.URL.Path != "/v2/":
			sendImage(w, r)
		case guarded(r):
			w.Header().Set("WWW-Authenticate", `Bearer realm="http://`+r.Host+`/token",service="s",scope="repository:user/image:pull"`)
			w.WriteHeader(http.StatusUnauthorized)
		default:
			otherwise(w, r)
		}
	}
}

var withCredential = Config{Target: Target{Username: "u", Password: "p"}}

// TestT2_TheChallengeOfV2 is learned where there is a credential, and costs no more
// than that of the manifest would.
func TestT2_TheChallengeOfV2(t *testing.T) {
	isGreeting := func(r *http.Request) bool { return r.URL.Path == "/v2/" }
	hidden := says(404, "application/json", errorBody("MANIFEST_UNKNOWN"))
	client, asked := plainly(t, withCredential, bearer(isGreeting, hidden))
	for _, want := range []string{"GET /v2/, GET /token, GET manifests/latest", "GET manifests/latest"} {
		if _, err := client.Manifest(t.Context(), "a/b", latest); err != nil {
			t.Error(err)
		}
		if got := asked.take(); got != want {
			t.Errorf("asked %s, want %s", got, want)
		}
	}
	client, asked = plainly(t, Config{}, bearer(isGreeting, hidden))
	if _, err := client.Manifest(t.Context(), "a/b", latest); OutcomeOf(err) != NotHere || asked.take() != "GET manifests/latest" {
		t.Errorf("without a credential: %v", err)
	}
}

// TestT2_NoChallenge is no outage: the answer counts, and the credential stays here.
func TestT2_NoChallenge(t *testing.T) {
	for _, status := range []int{200, 403, 404, 500} {
		var sent atomic.Int64
		client, asked := plainly(t, withCredential, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "" {
				sent.Add(1)
			}
			if r.URL.Path == "/v2/" {
				w.WriteHeader(status)
				return
			}
			sendImage(w, r)
		})
		for range 3 {
			if _, err := client.Manifest(t.Context(), "a/b", latest); err != nil {
				t.Errorf("%d: %v", status, err)
			}
		}
		if got := asked.take(); sent.Load() != 0 || strings.Count(got, "/v2/") != 1 {
			t.Errorf("%d: the credential was sent %d times; asked %s", status, sent.Load(), got)
		}
		if s := client.Status(); s.Health != Healthy || !s.CredentialUnused {
			t.Errorf("%d: %+v", status, s)
		}
	}
}

// TestT2_TheResourceOutranks what /v2/ says.
func TestT2_TheResourceOutranks(t *testing.T) {
	isManifest := func(r *http.Request) bool { return strings.Contains(r.URL.Path, "/manifests/") }
	for name, greeting := range map[string]http.HandlerFunc{
		"nothing":         says(404, "text/plain", ""),
		"Basic":           says(401, "text/plain", "", "WWW-Authenticate", `Basic realm="x"`),
		"a foreign realm": says(401, "text/plain", "", "WWW-Authenticate", `Bearer realm="http://evil.example/token"`),
		"a broken realm":  says(401, "text/plain", "", "WWW-Authenticate", `Bearer realm="://"`),
		"no realm":        says(401, "text/plain", "", "WWW-Authenticate", `Bearer`),
	} {
		client, _ := plainly(t, withCredential, bearer(isManifest, greeting))
		for range 2 {
			if _, err := client.Manifest(t.Context(), "a/b", latest); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if client.Status().CredentialUnused {
			t.Errorf("%s: the credential counts as unused", name)
		}
	}
}

// TestT2_WithoutTheLoginNoAnswerCounts: /v2/ asks for a login that fails, and the
// manifest is said not to be there.
func TestT2_WithoutTheLoginNoAnswerCounts(t *testing.T) {
	client, asked := plainly(t, withCredential, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/v2/":
			says(401, "text/plain", "", "WWW-Authenticate", `Bearer realm="http://`+r.Host+`/token"`)(w, r)
		case "/token":
			w.WriteHeader(http.StatusInternalServerError)
		default:
			says(404, "application/json", errorBody("MANIFEST_UNKNOWN"))(w, r)
		}
	})
	if _, err := client.Manifest(t.Context(), "a/b", latest); OutcomeOf(err) != Outage {
		t.Errorf("%v", err)
	}
	if got := asked.take(); got != "GET /v2/, GET /token, GET manifests/latest" {
		t.Errorf("asked %s", got)
	}
}

// TestT2_AnAbsenceToldToAStranger counts only where /v2/ asks for no login after it: what
// an edge said at /v2/ while the registry was away says nothing of how it is now.
func TestT2_AnAbsenceToldToAStranger(t *testing.T) {
	isGreeting := func(r *http.Request) bool { return r.URL.Path == "/v2/" }
	hidden := says(404, "application/json", errorBody("MANIFEST_UNKNOWN"))
	registry := bearer(isGreeting, hidden)
	for name, away := range map[string]http.HandlerFunc{
		"a page":       says(404, "text/html", "<html>"),
		"found a page": says(200, "text/html", "<html>"),
		"not found":    says(404, "text/plain", ""),
		"limited":      says(429, "text/plain", ""),
		"broken":       says(503, "text/plain", ""),
	} {
		var back atomic.Bool
		client, _ := plainly(t, withCredential, func(w http.ResponseWriter, r *http.Request) {
			if back.Load() {
				registry(w, r)
				return
			}
			away(w, r)
		})
		if _, err := client.Manifest(t.Context(), "a/b", latest); OutcomeOf(err) != Outage {
			t.Errorf("%s, away: %v", name, err)
		}
		back.Store(true)
		client.greetings.Clear() // as if its life had passed
		if _, err := client.Manifest(t.Context(), "a/b", latest); OutcomeOf(err) == NotHere {
			t.Errorf("%s, back: what is hidden from strangers is taken for absent", name)
		}
		backsOff := name == "limited"
		if _, err := client.Manifest(t.Context(), "a/b", latest); err != nil && !backsOff {
			t.Errorf("%s, back, asked again: %v", name, err)
		}
	}
}

// TestE10_APageOfATokenEndpoint is an outage, and denies nothing.
func TestE10_APageOfATokenEndpoint(t *testing.T) {
	for body, want := range map[string]Outcome{"<html>": Outage, `{"errors":[{"code":"DENIED"}]}`: Denied, "denied": Denied} {
		client, _ := plainly(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/token" {
				says(403, "text/plain", body)(w, r)
				return
			}
			says(401, "text/plain", "", "WWW-Authenticate", `Bearer realm="http://`+r.Host+`/token"`)(w, r)
		})
		if _, err := client.Manifest(t.Context(), "a/b", latest); OutcomeOf(err) != want {
			t.Errorf("%s: %v", body, err)
		}
	}
}

// TestT3_HeadAndThenGet counts the requests of questions that are asked by HEAD.
func TestT3_HeadAndThenGet(t *testing.T) {
	for _, status := range []int{400, 401, 403, 405, 406, 501} {
		client, asked := plainly(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodHead {
				w.WriteHeader(status)
				return
			}
			sendImage(w, r)
		})
		for _, want := range []string{"HEAD manifests/latest, GET manifests/latest", "GET manifests/latest"} {
			d, err := client.HeadManifest(t.Context(), "a/b", "latest")
			if err != nil || d.Digest != oci.DigestOf(oci.SHA256, image()) {
				t.Errorf("%d: %v", status, err)
			}
			if got := asked.take(); got != want {
				t.Errorf("%d: asked %s, want %s", status, got, want)
			}
		}
		size, err := client.HasBlob(t.Context(), "a/b", oci.DigestOf(oci.SHA256, image()))
		if err != nil || size != int64(len(image())) {
			t.Errorf("%d, a blob: %d bytes, %v", status, size, err)
		}
		if got := asked.take(); strings.Count(got, ",") != 1 || !strings.HasPrefix(got, "HEAD") {
			t.Errorf("%d, a blob: asked %s", status, got)
		}
	}
}

// TestT3_ARefusalIsNotRememberedAsOneOfHead where GET is refused as well.
func TestT3_ARefusalIsNotRememberedAsOneOfHead(t *testing.T) {
	client, asked := plainly(t, Config{}, says(403, "application/json", errorBody("DENIED")))
	for range 2 {
		if _, err := client.HeadManifest(t.Context(), "a/b", "latest"); OutcomeOf(err) != Denied {
			t.Error(err)
		}
		if got := asked.take(); got != "HEAD manifests/latest, GET manifests/latest" {
			t.Errorf("asked %s", got)
		}
	}
}

// shortTokens is a registry whose tokens are good for one answer, and forbidden after.
type shortTokens struct {
	issued, spent atomic.Int64
	never         bool // no token is good
}

func (s *shortTokens) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer t")
	switch {
	case r.URL.Path == "/token":
		fmt.Fprintf(w, `{"token":"t%d"}`, s.issued.Add(1))
	case token == "":
		says(401, "text/plain", "", "WWW-Authenticate", `Bearer realm="http://`+r.Host+`/token"`)(w, r)
	case s.never || token == fmt.Sprint(s.spent.Load()):
		says(403, "application/json", errorBody("DENIED"))(w, r)
	default:
		sendImage(w, r)
	}
}

// TestT4_ForbiddenAfterALogin is one new login, and then it is believed for a while.
func TestT4_ForbiddenAfterALogin(t *testing.T) {
	s := &shortTokens{}
	client, asked := plainly(t, Config{}, s.ServeHTTP)
	ask := func(want Outcome, requests string) {
		t.Helper()
		if _, err := client.HeadManifest(t.Context(), "a/b", "latest"); OutcomeOf(err) != want {
			t.Errorf("%v, want %s", err, want)
		}
		if got := asked.take(); got != requests {
			t.Errorf("asked %s", got)
		}
	}
	ask(Found, "HEAD manifests/latest, GET /token, HEAD manifests/latest")
	s.spent.Store(1)
	ask(Found, "HEAD manifests/latest, GET manifests/latest, GET /token, GET manifests/latest")
	s.spent.Store(2)
	ask(Denied, "HEAD manifests/latest, GET manifests/latest")

	client, asked = plainly(t, Config{}, (&shortTokens{never: true}).ServeHTTP)
	ask(Denied, "HEAD manifests/latest, GET /token, HEAD manifests/latest, GET manifests/latest")
	if _, err := client.Manifest(t.Context(), "c/d", latest); OutcomeOf(err) != Denied {
		t.Error(err)
	}
	if got := asked.take(); got != "GET manifests/latest, GET /token, GET manifests/latest" && strings.Count(got, "/token") > 2 {
		t.Errorf("asked %s", got)
	}
}

// TestT6_NoCredentialBehindARedirect: /v2/ and all below it lead to another registry.
func TestT6_NoCredentialBehindARedirect(t *testing.T) {
	w, cs := withRealm("https://ghcr.example.net", "https://auth.example.net/token", "https://auth.example.net")
	w.hosts[origin] = func(rw http.ResponseWriter, r *http.Request) {
		http.Redirect(rw, r, "https://ghcr.example.net"+r.URL.Path, http.StatusTemporaryRedirect)
	}
	for _, cfg := range []Config{{}, withCredential} {
		cfg.URL = origin
		client := clientOf(t, cs, cfg)
		for range 2 {
			if _, err := client.Manifest(t.Context(), "a/b", latest); err != nil {
				t.Error(err)
			}
		}
		if client.Status().CredentialUnused != (cfg.Username != "") {
			t.Errorf("%v: %+v", cfg, client.Status())
		}
	}
	for _, r := range w.requests() {
		if strings.HasPrefix(r.Header.Get("Authorization"), "Basic ") || r.URL.Host == "registry.example.com" && r.Header.Get("Authorization") != "" {
			t.Errorf("%s was sent %s", r.URL, r.Header.Get("Authorization"))
		}
	}
}

// TestT4_ECRForbidsAnOldPassword: the access key gets another one, once.
func TestT4_ECRForbidsAnOldPassword(t *testing.T) {
	password, calls := "first", 0
	w, cs := ecrWorld(&password, func(rw http.ResponseWriter, _ *http.Request) {
		calls++
		rw.Header().Set("Content-Type", "application/x-amz-json-1.1")
		fmt.Fprintf(rw, `{"authorizationData":[{"authorizationToken":%q}]}`, base64.StdEncoding.EncodeToString([]byte("AWS:"+password)))
	})
	asksForLogin := w.hosts[ecrRegistry]
	w.hosts[ecrRegistry] = func(rw http.ResponseWriter, r *http.Request) {
		if _, sent, ok := r.BasicAuth(); ok && sent != password {
			says(403, "application/json", errorBody("DENIED"))(rw, r) // "Your authorization token has expired"
			return
		}
		asksForLogin(rw, r)
	}
	c := clientOf(t, cs, Config{Target: Target{URL: ecrRegistry, Username: "AKIAEXAMPLE", Password: "x"}})
	for i, p := range []string{"first", "second", "third"} {
		password = p
		want, logins := Found, i+1
		if i == 2 { // within the minute
			want, logins = Denied, 2
		}
		if err := pullManifest(t, c); OutcomeOf(err) != want || calls != logins {
			t.Errorf("%s: %v after %d logins", p, err, calls)
		}
	}
}

// TestT8_Links: what names the next page, and what does not end the list.
func TestT8_Links(t *testing.T) {
	base := &url.URL{Scheme: "https", Host: "registry.example.com"}
	const outage = "outage"
	for link, want := range map[string]string{
		``: "",
		`</v2/a/b/tags/list?last=x&n=2>; rel="next"`:                                    "last=x&n=2",
		`/v2/a/b/tags/list?last=x&n=2; rel="next"`:                                      "last=x&n=2",
		`https://registry.example.com/v2/a/b/tags/list?last=x; rel=next`:                "last=x",
		`<https://other.example.net/v2/a/b/tags/list?last=x>; rel="next"`:               "last=x",
		`<https://other.example.net/root/v2/a/b/tags/list?last=x>; rel="next"`:          "last=x",
		`<https://other.example.net/v2/a/b/manifests/x?last=x>; rel="next"`:             outage,
		`</first?x>; rel="first", </v2/a/b/tags/list?last=x>; rel="next"; title="a, b"`: "last=x",
		`</style.css>; rel=preload; as=style`:                                           "",
		`</v2/a/b/tags/list?last=x>`:                                                    outage,
		`</v2/a/b/tags/list?last=x; rel="next"`:                                         outage,
		`</v2/a/b/tags/list?last=x>; rel="next`:                                         outage,
		`/v2/a/b/tags/list?last=x`:                                                      outage,
		`<>; rel="next"`:                                                                outage,
		`next`:                                                                          outage,
		`</v2/a/b/tags/list?last=x>; rel="next" and more`:                               outage,
	} {
		got, problem := nextPage([]string{link}, base, "tags/list")
		if problem != "" {
			got = outage
		}
		if got != want {
			t.Errorf("%s: %q (%s), want %q", link, got, problem, want)
		}
	}
}

// TestT8_Gzip that was not asked for is undone, and what only has its name is taken as it
// is; neither costs more memory than the answer may.
func TestT8_Gzip(t *testing.T) {
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = z.Write(image())
	_ = z.Close()
	for name, c := range map[string]struct {
		sent, want []byte
		length     bool
		encoding   string
		outcome    Outcome
	}{
		"a manifest in gzip":          {zipped.Bytes(), image(), true, "gzip", Found},
		"chunked":                     {zipped.Bytes(), image(), false, "x-gzip", Found},
		"a manifest that is no gzip":  {image(), image(), true, "gzip", Found},
		"a blob that is a gzip":       {zipped.Bytes(), zipped.Bytes(), true, "GZIP", Found},
		"another encoding":            {image(), nil, true, "br", Outage},
		"a gzip that breaks off":      {zipped.Bytes()[:zipped.Len()-9], image(), false, "gzip", Outage},
		"a gzip without a right head": {append([]byte{0x1f, 0x8b, 0xff}, zipped.Bytes()[3:]...), image(), true, "gzip", Outage},
	} {
		client, _ := plainly(t, Config{}, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", c.encoding)
			w.Header().Set("Content-Type", oci.MediaTypeImageManifest)
			if !c.length {
				_ = http.NewResponseController(w).Flush()
			}
			_, _ = w.Write(c.sent)
		})
		b, err := client.Blob(t.Context(), "a/b", oci.DigestOf(oci.SHA256, c.want), int64(len(c.want)))
		if err == nil {
			var got []byte
			if got, err = readAndClose(t, b); err == nil && !bytes.Equal(got, c.want) {
				t.Errorf("%s: a blob of %d bytes", name, len(got))
			}
		}
		if OutcomeOf(err) != c.outcome {
			t.Errorf("%s: a blob: %v", name, err)
		}
		if _, err = client.Manifest(t.Context(), "a/b", latest); OutcomeOf(err) != c.outcome {
			t.Errorf("%s: a manifest: %v", name, err)
		}
	}
}

func TestT8_ExpiresIn(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	for said, want := range map[string]time.Duration{
		`300`: 300 * time.Second, `"300"`: 300 * time.Second, `3e2`: 300 * time.Second, `"soon"`: defaultTokenLife, `null`: defaultTokenLife,
		`{}`: defaultTokenLife, `"NaN"`: defaultTokenLife, `"1e99"`: maxTokenLife, `-5`: defaultTokenLife,
	} {
		got, err := parseToken([]byte(`{"token":"a","expires_in":`+said+`}`), now)
		if want -= min(tokenSlack, want/5); err != nil || got.expires.Sub(now) != want {
			t.Errorf("%s: %v, %v", said, got.expires.Sub(now), err)
		}
	}
}

// TestT8_ChunkedGzip has no length to show whether a gzip is the blob, or only how it was
// sent.
func TestT8_ChunkedGzip(t *testing.T) {
	layer := ocitest.NewImage(1, 100_000).Layers[0].Bytes
	for name, c := range map[string]struct{ sent, want []byte }{
		"a layer, declared falsely":     {layer, layer},
		"a layer that was sent in gzip": {ocitest.Gzip(layer, gzip.BestSpeed), layer},
		"a config that was":             {ocitest.Gzip(image(), gzip.BestSpeed), image()},
		"a layer of zstd that was":      {ocitest.Gzip(append(zstdMagic, layer...), gzip.BestSpeed), append(zstdMagic, layer...)},
		"a short gzip, falsely":         {ocitest.Gzip([]byte("x"), gzip.BestSpeed), ocitest.Gzip([]byte("x"), gzip.BestSpeed)},
	} {
		for _, size := range []int64{int64(len(c.want)), -1} {
			client, _ := plainly(t, Config{}, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Encoding", "gzip")
				_ = http.NewResponseController(w).Flush() // else the response has a length
				_, _ = w.Write(c.sent)
			})
			b, err := client.Blob(t.Context(), "a/b", oci.DigestOf(oci.SHA256, c.want), size)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if got, err := readAndClose(t, b); err != nil || !bytes.Equal(got, c.want) {
				t.Errorf("%s: %d bytes, want %d, %v", name, len(got), len(c.want), err)
			}
		}
	}
}

// TestT3_ARefusedHeadOfWhatIsNotThere says nothing about other HEADs.
func TestT3_ARefusedHeadOfWhatIsNotThere(t *testing.T) {
	client, asked := plainly(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		says(404, "application/json", errorBody("MANIFEST_UNKNOWN"))(w, r)
	})
	for range 2 {
		if _, err := client.HeadManifest(t.Context(), "a/b", "latest"); OutcomeOf(err) != NotHere {
			t.Error(err)
		}
		if got := asked.take(); got != "HEAD manifests/latest, GET manifests/latest" {
			t.Errorf("asked %s", got)
		}
	}
}
