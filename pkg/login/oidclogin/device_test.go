package oidclogin_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/login/oidclogin"
	"github.com/berth-registry/berth/tools/testserver"
)

const deviceEndpoint = "/device_authorization"

// TestV85_BerthIsTheClientOfADevice, and says so as the issuer wants it: in a header, in the body, or
// not where it has no secret.
func TestV85_BerthIsTheClientOfADevice(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		what, secret  string
		methods       []string
		basic, inBody bool
	}{
		{"by default", testserver.OpenIDSecret, nil, true, false},
		{"in the body", testserver.OpenIDSecret, []string{"client_secret_post"}, false, true},
		{"a public client", "", nil, false, false},
	} {
		w.answering(discovery, func(body map[string]any) { body["token_endpoint_auth_methods_supported"] = c.methods })
		client := w.open(oidclogin.Settings{Issuer: w.issuer.URL, ClientID: testserver.OpenIDClient, ClientSecret: c.secret})
		if _, err := client.Begin(t.Context(), newFlow()); err != nil { // reads what the issuer publishes
			t.Fatal(err)
		}
		w.issuer.Between(func(issuer http.Handler) http.Handler {
			return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				_, secret, basic := r.BasicAuth()
				if r.ParseForm() != nil || basic != c.basic || r.PostForm.Has("client_secret") != c.inBody || basic && secret != "secret+of+the+client" || !strings.Contains(r.PostFormValue("scope"), "openid") {
					t.Errorf("%s: %v %v", c.what, r.Header, r.PostForm)
				}
				issuer.ServeHTTP(rw, r)
			})
		})
		d, err := client.BeginDevice(t.Context())
		if err != nil || d.Interval != time.Second || d.Life > time.Minute || d.Life < 50*time.Second || d.UserCode == "" || strings.Contains(fmt.Sprintf("%v %+v %#v", d, d, d), d.Code) {
			t.Errorf("%s: %v, %v", c.what, d, err)
		}
	}
}

// TestV85_ADeviceGetsNothingHostileToShow: what an issuer answers is bounded, and is text and a URL.
func TestV85_ADeviceGetsNothingHostileToShow(t *testing.T) {
	w := newWorld(t)
	for what, change := range map[string]func(body map[string]any){
		"no code":               func(body map[string]any) { delete(body, "device_code") },
		"a long code":           func(body map[string]any) { body["device_code"] = strings.Repeat("a", 2049) },
		"no user code":          func(body map[string]any) { delete(body, "user_code") },
		"a long user code":      func(body map[string]any) { body["user_code"] = strings.Repeat("a", 65) },
		"an escape in the code": func(body map[string]any) { body["user_code"] = "\x1b]0;x\x07" },
		"no URL":                func(body map[string]any) { delete(body, "verification_uri") },
		"a URL by http":         func(body map[string]any) { body["verification_uri"] = "http://127.0.0.1/device" },
		"a script":              func(body map[string]any) { body["verification_uri"] = "javascript:alert(1)" },
		"an escape in the URL":  func(body map[string]any) { body["verification_uri_complete"] = "https://127.0.0.1/\x1b[2J" },
		"a user in the URL":     func(body map[string]any) { body["verification_uri"] = "https://berth.example.com@127.0.0.1/" },
		"a code that has ended": func(body map[string]any) { body["expires_in"] = -1 },
		"no JSON of it":         func(body map[string]any) { body["interval"] = "soon" },
	} {
		w.answering(deviceEndpoint, change)
		d, err := w.client.BeginDevice(t.Context())
		w.wantDown(what+" "+d.UserCode, err)
	}
	w.answering(deviceEndpoint, func(body map[string]any) { body["interval"], body["expires_in"] = int64(1)<<40, int64(1)<<30 })
	if d, err := w.client.BeginDevice(t.Context()); err != nil || d.Interval > time.Hour || d.Life > time.Hour {
		t.Errorf("%s %s, %v", d.Interval, d.Life, err)
	}
	w.answering(deviceEndpoint, func(body map[string]any) { delete(body, "interval") })
	if d, err := w.client.BeginDevice(t.Context()); err != nil || d.Interval != 5*time.Second {
		t.Errorf("%s, %v", d.Interval, err)
	}
}

// TestV85_WhoseIssuerHasNoDevicesLearnsIt, which is no outage.
func TestV85_WhoseIssuerHasNoDevicesLearnsIt(t *testing.T) {
	w := newWorld(t)
	w.issuer.Between(at(deviceEndpoint, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		rw.WriteHeader(http.StatusBadRequest)
		_ = json.NewEncoder(rw).Encode(map[string]string{"error": "unauthorized_client"})
	}))
	if _, err := w.client.BeginDevice(t.Context()); fault.KindOf(err) != fault.Conflict || !strings.Contains(fault.From(err).Message, "unauthorized_client") {
		t.Errorf("not for this client: %v", err)
	}
	w.answering(discovery, func(body map[string]any) { delete(body, "device_authorization_endpoint") })
	w.client = w.open(w.client.Settings)
	if _, err := w.client.BeginDevice(t.Context()); fault.KindOf(err) != fault.Conflict {
		t.Errorf("without an endpoint: %v", err)
	}
	w.answering(discovery, func(body map[string]any) { body["device_authorization_endpoint"] = "http://127.0.0.1:1/" })
	w.client = w.open(w.client.Settings)
	_, err := w.client.BeginDevice(t.Context())
	w.wantDown("by plain HTTP", err)
}

// TestV83_ADeviceWaitsForNoIssuerThatHangs longer than its request may take.
func TestV83_ADeviceWaitsForNoIssuerThatHangs(t *testing.T) {
	w := newWorld(t)
	w.wantIn()
	arrived := make(chan struct{}, 1)
	w.issuer.Between(at(deviceEndpoint, func(_ http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		arrived <- struct{}{}
		<-r.Context().Done()
	}))
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() {
		_, err := w.client.BeginDevice(ctx)
		failed <- err
	}()
	<-arrived
	cancel()
	w.wantDown("hanging", <-failed)
}
