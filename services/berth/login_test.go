package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/tools/testserver"
)

// terminal is where somebody logs in at a server with a real issuer.
type terminal struct {
	t   *testing.T
	sso *testserver.OpenID
	url string // of the admin API
}

// atTerminal runs do while a server is there.
func atTerminal(t *testing.T, do func(c *terminal)) {
	t.Helper()
	c := &terminal{t: t, sso: testserver.StartOpenID(t)}
	c.sso.LogsIn("s-max", "max", nil)
	dir := t.TempDir()
	authority := filepath.Join(t.TempDir(), "issuer.crt")
	if err := os.WriteFile(authority, c.sso.CA, 0o600); err != nil {
		t.Fatal(err)
	}
	servingBoth(t, dir, func(_, admin string) {
		c.url = "http://" + admin
		operator, err := os.ReadFile(filepath.Join(dir, "operator-token"))
		if err != nil {
			t.Fatal(err)
		}
		c.ask(strings.TrimSpace(string(operator)), http.MethodPost, "/v1/identityProviders?identity_provider_id=corp", fmt.Sprintf(
			`{"oidc": {"issuer": %q, "client_id": %q, "client_secret": %q}}`, c.sso.URL, testserver.OpenIDClient, testserver.OpenIDSecret))
		do(c)
	}, "--upstream-ca", authority)
}

// ask asks the admin API, and returns what it answers.
func (c *terminal) ask(token, method, path, body string) string {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.url+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		c.t.Fatalf("%s %s: %s %s, %v", method, path, resp.Status, text, err)
	}
	return string(text)
}

var shownCode = regexp.MustCompile(`^Open (https://\S+) in a browser, and enter the code (\S+)$`)

// login runs the command, and does with the code what a person does. It returns the exit code, what
// it printed, and what it said after the code.
func (c *terminal) login(person func(code string, interrupt func()), flags ...string) (int, string, string) {
	c.t.Helper()
	ctx, interrupt := context.WithCancel(c.t.Context())
	defer interrupt()
	r, w := io.Pipe()
	var out, rest bytes.Buffer
	done := make(chan int, 1)
	go func() {
		done <- run(ctx, append([]string{"login", c.url, "--tenant", "default"}, flags...), nil, strings.NewReader(""), &out, w)
		w.Close()
	}()
	lines := bufio.NewReader(r)
	first, _ := lines.ReadString('\n')
	if shown := shownCode.FindStringSubmatch(strings.TrimSpace(first)); shown == nil {
		c.t.Errorf("it says %q", first)
		interrupt()
	} else {
		person(shown[2], interrupt)
	}
	_, _ = rest.ReadFrom(lines)
	return <-done, out.String(), rest.String()
}

// TestV86_ATerminalLogsIn: the standard output has the access token alone, or JSON, and people read
// the rest.
func TestV86_ATerminalLogsIn(t *testing.T) {
	atTerminal(t, func(c *terminal) {
		approves := func(code string, _ func()) { c.sso.ApprovesDevice(t, code) }
		code, out, said := c.login(approves, "--name", "laptop", "--ttl", "2160h")
		token := strings.TrimSuffix(out, "\n")
		if code != exitOK || !strings.HasPrefix(token, "berth_") || strings.ContainsAny(token, " \n") || strings.Contains(said, token) || !strings.Contains(said, "docker login -u max ") {
			t.Fatalf("%d %s%s", code, out, said)
		}
		if got := c.ask(token, http.MethodGet, "/v1/caller", ""); !strings.Contains(got, `"users/max"`) {
			t.Error(got)
		}
		if got := c.ask(token, http.MethodGet, "/v1/tenants/default/users/max/accessTokens", ""); !strings.Contains(got, `"laptop"`) {
			t.Error(got)
		}
		code, out, said = c.login(approves, "-o", "json", "--provider", "operator/identityProviders/corp")
		var got loggedIn
		if err := json.Unmarshal([]byte(out), &got); err != nil || code != exitOK || got.User != "max" || !strings.HasPrefix(got.Name, "tenants/default/users/max/accessTokens/") ||
			got.ExpireTime.Before(time.Now().Add(89*24*time.Hour)) || strings.Contains(said, got.Token) {
			t.Fatalf("%d %s%s, %v", code, out, said, err)
		}
		c.ask(got.Token, http.MethodGet, "/v1/caller", "")
		for want, person := range map[string]func(code string, interrupt func()){
			"berth: the login was refused":    func(code string, _ func()) { c.sso.DeniesDevice(t, code) },
			"berth: the code has expired":     func(code string, _ func()) { c.sso.ExpireDevice(t, code) },
			"berth: interrupted; no access t": func(_ string, interrupt func()) { interrupt() },
		} {
			if code, out, said := c.login(person); code != exitFailure || out != "" || !strings.Contains(said, want) {
				t.Errorf("%s: %d %s%s", want, code, out, said)
			}
		}
	})
}

// TestV86_AnOutageEndsNoLogin of a terminal: it asks again.
func TestV86_AnOutageEndsNoLogin(t *testing.T) {
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/login/device" {
			_, _ = w.Write([]byte(`{"device_code": "x", "user_code": "A", "verification_uri": "https://x.example", "expires_in": 60, "interval": 1}`))
			return
		}
		if asked++; asked == 1 {
			http.Error(w, "busy", http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte(`{"state": "done", "user": "users/max", "access_token": {"secret": "berth_x"}}`))
	}))
	t.Cleanup(server.Close)
	if code, out, errs := berth(t, nil, "login", server.URL, "--tenant", "acme"); code != exitOK || out != "berth_x\n" || asked != 2 {
		t.Errorf("%d %s%s", code, out, errs)
	}
}

// TestV86_ATerminalLearnsWhatIsWrong, and prints nothing that is hostile.
func TestV86_ATerminalLearnsWhatIsWrong(t *testing.T) {
	said := ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if strings.HasPrefix(said, "{\"message") {
			w.WriteHeader(http.StatusNotFound)
		}
		_, _ = w.Write([]byte(said))
	}))
	t.Cleanup(server.Close)
	for answer, want := range map[string]string{
		`{"message": "no such\u001b[2J tenant"}`: `berth: the server answers 404: no such\x1b[2J tenant`,
		`<html>`:                                 "did not answer as the admin API",
		`{}`:                                     "answered no login",
		`{"device_code": "x", "user_code": "A\u001b[2J", "verification_uri": "https://x.example"}`:         "answered no login",
		`{"device_code": "x", "user_code": "A", "verification_uri": "https://x.example/\u0007"}`:           "answered no login",
		`{"device_code": "x", "user_code": "A", "verification_uri": "https://x.example", "expires_in": 0}`: "the code has expired",
		`{"message": "` + strings.Repeat("x", 10) + `"}`:                                                   "xxxxxxxxxx",
	} {
		said = answer
		if code, out, errs := berth(t, nil, "login", server.URL, "--tenant", "acme"); code != exitFailure || out != "" || !strings.Contains(errs, want) || strings.ContainsAny(errs, "\x1b\x07") {
			t.Errorf("%s: %d %q %q", answer, code, out, errs)
		}
	}
	for url, want := range map[string]string{
		"http://berth.example.com":          "use https",
		"berth.example.com":                 "not the URL",
		"https://max:x@berth.example.com":   "not the URL",
		"ftp://berth.example.com":           "not the URL",
		"https://berth.example.com/?x=1":    "not the URL",
		"http://localhost.example.com:5080": "use https",
	} {
		if code, out, errs := berth(t, nil, "login", url, "--tenant", "acme"); code != exitFailure || out != "" || !strings.Contains(errs, want) {
			t.Errorf("%s: %d %s%s", url, code, out, errs)
		}
	}
}
