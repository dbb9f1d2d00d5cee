package front_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/boot/web"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/services/internal/front"
	"github.com/berth-registry/berth/services/internal/fronttest"
	"github.com/berth-registry/berth/services/internal/signedcall"
)

const callHeader = "Berth-Internal-Call"

// seen is what a service knows of its request.
type seen struct {
	Tenant, Registry, Host, Path, Query string
	Actor, Realm                        string
	Client, RequestID                   string
	MayPull, MayPush, MayPullOther      bool
	Header                              http.Header
}

// tells is a service that answers what it knows, and the answer of a service
// that found an error where it is asked for one.
func tells(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Has("fail") {
		front.WriteError(w, r, fault.New(fault.Denied, fault.DeniedReason, "no"))
		return
	}
	c := front.CallOf(r.Context())
	allowed := func(repository string, a access.Actions) bool {
		return c.Allowed(access.Repository(repository, a)).Has(a)
	}
	_ = json.NewEncoder(w).Encode(seen{
		Tenant: c.Site.TenantSlug, Registry: c.Site.RegistrySlug, Host: r.Host, Path: r.URL.Path, Query: r.URL.RawQuery,
		Actor: c.Principal.Actor(), Realm: c.Realm(), Client: web.ClientAddr(r.Context()).String(), RequestID: web.RequestID(r.Context()),
		MayPull: allowed("app", access.Pull), MayPush: allowed("app", access.Push), MayPullOther: allowed("other", access.Pull),
		Header: r.Header,
	})
}

// A service knows the same of a request, and its answer is the same, whether it
// runs in the process that took the request in or in another.
func TestRemoteMakesNoDifference(t *testing.T) {
	service := http.HandlerFunc(tells)
	far := newHop(t, front.Services{Registry: says("wrong"), Upload: service, Token: service})
	near := serveHere(t, front.Services{Registry: says("registry"), Upload: service, Token: service})
	requests := map[string]func(hop) fronttest.Request{
		"anonymous":    func(h hop) fronttest.Request { return fronttest.Request{Host: h.open.Host} },
		"another port": func(h hop) fronttest.Request { return fronttest.Request{Host: "OPEN.acme.localhost.:5000"} },
		"behind a proxy": func(h hop) fronttest.Request {
			return fronttest.Request{Host: h.open.Host, Header: fronttest.Headers("X-Forwarded-For", "192.0.2.7", "X-Forwarded-Proto", "https")}
		},
		"account": func(h hop) fronttest.Request { return fronttest.Request{Host: h.private.Host, Basic: "ci"} },
		"token": func(h hop) fronttest.Request {
			p := access.ServiceAccount(h.private.Tenant, 0, "ci", access.Writer)
			return fronttest.Request{Host: h.private.Host, Bearer: h.Token(h.private, p, access.Repository("app", access.Pull))}
		},
		"anonymous token": func(h hop) fronttest.Request {
			return fronttest.Request{Host: h.open.Host, Bearer: h.Token(h.open, access.Principal{}, access.Repository("app", access.Push))}
		},
		"wrong token":  func(h hop) fronttest.Request { return fronttest.Request{Host: h.open.Host, Bearer: "x.y.z"} },
		"unknown host": func(hop) fronttest.Request { return fronttest.Request{Host: "nobody.localhost"} },
		"refused":      func(h hop) fronttest.Request { return fronttest.Request{Host: h.open.Host, Path: "?fail"} },
		"browser": func(h hop) fronttest.Request {
			return fronttest.Request{Host: h.open.Host, Header: fronttest.Headers("Origin", "https://ui.example.com")}
		},
		"a call of its own": func(h hop) fronttest.Request {
			return fronttest.Request{Host: h.open.Host, Header: fronttest.Headers(callHeader, "x.y.z")}
		},
	}
	for name, request := range requests {
		for _, path := range []string{session, "/v2/app/blobs/uploads/", "/v2/app/blobs/uploads/?mount=" + digest + "&from=other%2fapp", "/token?scope=a%20b"} {
			for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPatch} {
				a, b := ask(far, request, method, path), ask(near, request, method, path)
				delete(a.header, callHeader)
				delete(b.header, callHeader)
				far.Same(name+" "+method+" "+path, a.Answer, b.Answer)
				if !strings.EqualFold(a.told, b.told) {
					t.Errorf("%s %s %s: the service knows\n%s and in its own process\n%s", name, method, path, a.told, b.told)
				}
			}
		}
	}
}

// told is an answer, and what the service knew when it gave it.
type told struct {
	fronttest.Answer
	told   string
	header http.Header
}

func ask(h hop, request func(hop) fronttest.Request, method, path string) told {
	r := request(h)
	r.Method = method
	r.Path = path + strings.ReplaceAll(r.Path, "?", map[bool]string{true: "&", false: "?"}[strings.Contains(path, "?")])
	a := told{Answer: h.Do(r)}
	var s seen
	if json.Unmarshal([]byte(a.Body), &s) != nil || s.Tenant == "" {
		return a
	}
	if s.RequestID != a.Header.Get("X-Request-Id") {
		a.told = "another request id; "
	}
	s.RequestID = ""
	a.header = s.Header
	for _, name := range []string{callHeader, "Authorization", "Accept-Encoding", "Traceparent", "X-Forwarded-For", "X-Forwarded-Proto"} {
		s.Header.Del(name)
	}
	text, _ := json.Marshal(s)
	a.told += string(text)
	a.Body = ""
	a.Header.Del("Content-Length") // tokens differ
	return a
}

// call is what someone sends straight to the internal listener.
func call(t *testing.T, to *httptest.Server, method, path string, header ...string) fronttest.Answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, to.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = fronttest.Headers(header...)
	res, err := to.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return fronttest.Answer{Status: res.StatusCode, Header: res.Header, Body: string(text)}
}

// none is a service that no one may reach.
func none(t *testing.T) front.Services {
	h := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a service was reached") })
	return front.Services{Registry: h, Upload: h, Token: h, Proxy: h}
}

func TestF5_InternalListenerIsForServicesOnly(t *testing.T) {
	back := listenInternal(t, deploymentKey, &journal{}, none(t))
	for _, path := range []string{"/", "/v2/", "/v2/_catalog", "/v2/app/blobs/" + digest, session, "/token", "/token/jwks", "/metrics", "/debug/pprof/", "/healthz", "/v1/tenants"} {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodOptions} {
			got := call(t, back, method, path, "Authorization", "Basic Y2k6c2VjcmV0LW9mLWNp", "Host", "open.acme.localhost")
			if got.Status != http.StatusForbidden || got.Header.Get("WWW-Authenticate") != "" {
				t.Errorf("%s %s without a call: %d %s", method, path, got.Status, got.Body)
			}
		}
	}
	got := call(t, back, http.MethodGet, session, callHeader, "x.y.z", callHeader, "x.y.z")
	if got.Status != http.StatusForbidden {
		t.Errorf("two calls at once: %d %s", got.Status, got.Body)
	}
}

// The caller is a service of this deployment as far as it knows, so that its client learns
// of an outage, and the operators of the reason.
func TestF5_ForgedCalls(t *testing.T) {
	logged := &journal{}
	back := listenInternal(t, deploymentKey, logged, none(t))
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, back.URL+session+"?digest="+digest, nil)
	if err != nil {
		t.Fatal(err)
	}
	good := access.InternalCall{InternalRequest: signedcall.Describe(r)}
	sign := func(key string, c access.InternalCall) string {
		signed, err := access.NewInternal(key).Sign(c)
		if err != nil {
			t.Fatal(err)
		}
		return signed
	}
	signed := sign(deploymentKey, good)
	old, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"use": "internal", "iat": time.Now().Add(-61 * time.Minute).Unix(), "exp": time.Now().Add(-time.Hour).Unix(), "call": good,
	}).SignedString([]byte(deploymentKey))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ method, path, call string }{
		"no token":       {http.MethodPut, good.Path, "x"},
		"another key":    {http.MethodPut, good.Path, sign("another key of the same length 1", good)},
		"expired":        {http.MethodPut, good.Path, old},
		"another path":   {http.MethodPut, strings.Replace(good.Path, "app", "app2", 1), signed},
		"another query":  {http.MethodPut, session + "?digest=" + strings.Replace(digest, "e3", "e4", 1), signed},
		"without query":  {http.MethodPut, session, signed},
		"another method": {http.MethodDelete, good.Path, signed},
		"escaped path":   {http.MethodPut, strings.Replace(good.Path, "app", "%61pp", 1), signed},
	} {
		wantOutage(t, name, call(t, back, c.method, c.path, callHeader, c.call))
	}
	if !logged.contains("a call from another service is refused") {
		t.Error("the log does not tell")
	}
}

func TestF5_ServicesWithDifferentKeys(t *testing.T) {
	logged := &journal{}
	h := hopTo(t, listenInternal(t, "fedcba9876543210fedcba9876543210", logged, none(t)).URL, 0)
	for _, path := range []string{session, "/token"} {
		wantOutage(t, path, h.Do(fronttest.Request{Host: h.open.Host, Path: path}))
	}
	if !logged.contains("internal_key must be the same") {
		t.Error("the log does not tell")
	}
}

// A header of the client takes nothing from the call and adds nothing to it.
func TestA3_HeadersCannotTouchTheCall(t *testing.T) {
	h := newHop(t, front.Services{Upload: http.HandlerFunc(tells)})
	for name, header := range map[string]http.Header{
		"its own call":       {callHeader: {"x.y.z"}},
		"many":               {callHeader: {"x.y.z", "", "a"}},
		"hop by hop":         {"Connection": {callHeader}},
		"keep-alive, too":    {"Connection": {"keep-alive, " + callHeader}, callHeader: {"x.y.z"}},
		"another protocol":   {"Connection": {"Upgrade"}, "Upgrade": {"h2c"}},
		"none at all":        {"Connection": {"Upgrade"}, "Upgrade": {"\x80"}},
		"forwarded":          {"Forwarded": {"host=other.localhost"}},
		"another route":      {"X-Original-Url": {"/v2/other/blobs/uploads/"}, "X-Http-Method-Override": {"DELETE"}},
		"another request id": {"X-Request-Id": {"forged"}},
	} {
		got := h.Do(fronttest.Request{Host: h.open.Host, Path: session, Header: header})
		var s seen
		if err := json.Unmarshal([]byte(got.Body), &s); err != nil || got.Status != http.StatusOK {
			t.Errorf("%s: %d %s", name, got.Status, got.Body)
			continue
		}
		if s.Registry != "open" || s.Actor != "anonymous" || s.Realm != "http://open.acme.localhost/token" || s.RequestID != got.Header.Get("X-Request-Id") || s.RequestID == "forged" {
			t.Errorf("%s: %+v", name, s)
		}
		if len(s.Header[callHeader]) != 0 {
			t.Errorf("%s: the service sees the call", name)
		}
	}
}

// On the data port a call counts for nothing, also a good one.
func TestF5_DataPortTakesNoCalls(t *testing.T) {
	h := serveHere(t, front.Services{Upload: http.HandlerFunc(guarded)})
	signed, err := access.NewInternal(deploymentKey).Sign(access.InternalCall{
		InternalRequest: access.InternalRequest{Method: http.MethodGet, Path: session}, Site: h.private, Principal: access.ServiceAccount(h.private.Tenant, 0, "ci", access.Admin),
	})
	if err != nil {
		t.Fatal(err)
	}
	got := h.Do(fronttest.Request{Host: h.private.Host, Path: session, Header: fronttest.Headers(callHeader, signed, "Want", "push")})
	if got.Status != http.StatusUnauthorized {
		t.Errorf("%d %s", got.Status, got.Body)
	}
}

// Refusals are those of the process that the client talks to (contract section 1).
func TestContract_RefusalsAcrossTheHop(t *testing.T) {
	h := newHop(t, front.Services{Upload: http.HandlerFunc(guarded)})
	pulling := h.Token(h.private, access.ServiceAccount(h.private.Tenant, 0, "ci", access.Writer), access.Repository("app", access.Pull))
	for name, c := range map[string]struct {
		req       fronttest.Request
		want      string
		challenge string
	}{
		"anonymous": {fronttest.Request{}, "401 UNAUTHORIZED", ""},
		"too narrow": {
			fronttest.Request{Bearer: pulling}, "401 UNAUTHORIZED insufficient_scope", `,error="insufficient_scope"`,
		},
		"account": {fronttest.Request{Basic: "ci"}, "204", ""},
	} {
		c.req.Method, c.req.Path, c.req.Host = http.MethodPatch, session, "Acme.localhost:5000"
		c.req.Header = fronttest.Headers("Want", "push", "X-Forwarded-Proto", "https")
		got := h.Do(c.req)
		if s := summary(got); s != c.want {
			t.Errorf("%s: %s, want %s", name, s, c.want)
		}
		challenge := `Bearer realm="https://Acme.localhost:5000/token",service="acme.localhost",scope="repository:app:pull,push"` + c.challenge
		if h := got.Header.Values("WWW-Authenticate"); got.Status == 401 && (len(h) != 1 || h[0] != challenge) {
			t.Errorf("%s: challenge %q, want %q", name, h, challenge)
		}
	}
}
