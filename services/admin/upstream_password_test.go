package admin

import (
	"bytes"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/sqlitemeta"
	"github.com/berth-registry/berth/services/internal/kit"
)

// withPassword has an upstream ghcr with a password.
func withPassword(t *testing.T) *api {
	t.Helper()
	a := newAPI(t)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	a.call(200, "POST", upstreams+"?upstream_id=ghcr", `{"url": "https://ghcr.io", "username": "robot", "password": "`+upstreamPassword+`"}`)
	return a
}

// kept is the password of ghcr in plain text.
func (a *api) kept() string {
	a.t.Helper()
	u := a.upstream("acme", "ghcr")
	if len(u.Settings.Password) == 0 {
		return ""
	}
	plain, err := a.service.secrets.Open(u.Settings.Password, meta.SecretsOf(u).Password)
	if err != nil {
		a.t.Fatal(err)
	}
	return plain
}

// What was read can be sent back, whole or in part, without the password that
// could not be read.
func TestAnUpstreamAsItWasReadKeepsItsPassword(t *testing.T) {
	a := withPassword(t)
	resp, read := a.send(operatorToken, "GET", upstreams+"/ghcr", "")
	if resp.StatusCode != 200 || !bytes.Contains(read, []byte(`"password":""`)) {
		t.Fatalf("%d %s", resp.StatusCode, read)
	}
	was := a.upstream("acme", "ghcr")
	for _, mask := range []string{"", "?update_mask=*", "?update_mask=username,password,tag_ttl"} {
		a.call(200, "PATCH", upstreams+"/ghcr"+mask, string(read))
		if is := a.upstream("acme", "ghcr"); a.kept() != upstreamPassword || is.Version != was.Version || is.Cache != was.Cache {
			t.Errorf("mask %q: the password is %q, version %d after %d", mask, a.kept(), is.Version, was.Version)
		}
	}
	a.call(200, "PATCH", upstreams+"/ghcr", `{"username": "", "password": ""}`)
	if a.kept() != "" {
		t.Error("a password that is cleared in so many words stays")
	}
}

// A caller that may change the URL cannot redirect the password to itself.
func TestE4_APasswordDoesNotFollowTheURL(t *testing.T) {
	a := withPassword(t)
	was := a.upstream("acme", "ghcr")
	for _, url := range []string{"https://evil.example", "http://ghcr.io", "https://ghcr.io:8443", "https://ghcr.io.evil.example"} {
		got := a.call(400, "PATCH", upstreams+"/ghcr", `{"url": "`+url+`"}`)
		if text := fmt.Sprint(got); !strings.Contains(text, "field:password") || strings.Contains(text, upstreamPassword) {
			t.Errorf("%s: %v", url, got)
		}
	}
	if is := a.upstream("acme", "ghcr"); is.Version != was.Version {
		t.Error("a refused change was made")
	}
	a.call(200, "PATCH", upstreams+"/ghcr", `{"url": "https://GHCR.io/"}`)
	a.call(200, "PATCH", upstreams+"/ghcr", `{"url": "https://quay.io", "password": "`+upstreamPassword+`"}`)
	a.call(200, "PATCH", upstreams+"/ghcr", `{"url": "https://ghcr.io", "username": "", "password": ""}`)
	a.call(200, "PATCH", upstreams+"/ghcr", `{"url": "https://quay.io"}`) // there is none to follow
}

func TestB16_PasswordsOfUpstreamsAreNowhere(t *testing.T) {
	dir := t.TempDir()
	store, err := sqlitemeta.Open(t.Context(), sqlitemeta.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	var log lockedBuffer
	spans := tracetest.NewSpanRecorder()
	a := serveAPI(t, store, func(_ *Config, o *Options) {
		o.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		tracer := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
		o.Tracer, o.Middlewares = tracer, []kit.Middleware{kit.Tracing(tracer)}
	})
	var canaries []string
	canary := func() string {
		c := fmt.Sprintf("canary-%d-of-a-password", len(canaries))
		canaries = append(canaries, c)
		return c
	}
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	var seen bytes.Buffer
	flows := func() {
		for _, r := range [][3]string{
			{"POST", "?upstream_id=ghcr", `{"url": "https://ghcr.io", "username": "robot", "password": "%s"}`},
			{"POST", "?upstream_id=ghcr", `{"url": "https://ghcr.io", "username": "robot", "password": "%s"}`}, // exists
			{"POST", "?upstream_id=new&validate_only=true", `{"url": "https://ghcr.io", "username": "robot", "password": "%s"}`},
			{"POST", "?upstream_id=new", `{"url": "https://ghcr.io", "username": "a:b", "password": "%s"}`},
			{"POST", "?upstream_id=new", `{"url": "https://user:%s@ghcr.io"}`},
			{"POST", "?upstream_id=new", `{"url": "https://ghcr.io", "password": "%s"}`},
			{"POST", "?upstream_id=new", `{"url": "https://ghcr.io", "username": "robot", "password": "%s\u0001"}`},
			{"PATCH", "/ghcr", `{"password": "%s"}`},
			{"PATCH", "/ghcr?validate_only=true", `{"password": "%s"}`},
			{"PATCH", "/ghcr", `{"url": "https://quay.io", "password": "%s"}`},
			{"PATCH", "/ghcr", `{"password": "%s", "etag": "999"}`},
			{"PATCH", "/none", `{"password": "%s"}`},
			{"PATCH", "/created?allow_missing=true", `{"url": "https://ghcr.io", "username": "robot", "password": "%s"}`},
			{"PATCH", "/ghcr", `{"keep": "1s", "password": "%s"}`},
		} {
			_, text := a.send(operatorToken, r[0], upstreams+r[1], fmt.Sprintf(r[2], canary()))
			seen.Write(text)
		}
		for _, path := range []string{upstreams, upstreams + "/ghcr", "/v1/tenants/acme/events"} {
			_, text := a.send(operatorToken, "GET", path, "")
			seen.Write(text)
		}
		err := a.service.Apply(t.Context(), writeSeed(t, chainSeed, map[string]string{"ghcr.password": canary()}))
		fmt.Fprint(&seen, err)
		n, err := a.service.Reseal(t.Context())
		fmt.Fprint(&seen, n, err)
	}
	flows()
	if a.upstream("acme", "created").Settings.Password == nil || !strings.Contains(seen.String(), `"password_set":true`) {
		t.Fatal("no password was kept")
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	flows() // now everything fails
	if !strings.Contains(log.String(), "the admin API failed") || len(spans.Ended()) == 0 {
		t.Fatalf("%d spans, log %s", len(spans.Ended()), log.String())
	}
	seen.WriteString(log.String())
	for _, span := range spans.Ended() {
		fmt.Fprint(&seen, span.Name(), span.Attributes(), span.Events(), span.Status())
	}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		seen.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(seen.Bytes(), []byte("upstreams/ghcr")) {
		t.Fatal("the database was not looked at")
	}
	for _, c := range canaries {
		if bytes.Contains(seen.Bytes(), []byte(c)) {
			t.Errorf("%s is in an answer, a log, a trace, an event or the database", c)
		}
	}
}
