package admin

import (
	"bytes"
	"encoding/base64"
	"os"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/tenant"
)

func TestB17_NoPasswordOpensTheAPI(t *testing.T) {
	a := newAPI(t)
	text, err := os.ReadFile("testdata/passwords.txt")
	if err != nil {
		t.Fatal(err)
	}
	passwords := append(strings.Fields(string(text)), "", operatorToken[1:], operatorToken+"x", strings.ToUpper(operatorToken))
	for _, p := range passwords {
		for _, authorization := range []string{
			"Bearer " + p,
			"Basic " + base64.StdEncoding.EncodeToString([]byte("admin:"+p)),
			"Basic " + base64.StdEncoding.EncodeToString([]byte("operator:"+p)),
			p,
		} {
			if resp, _ := a.send("", "GET", "/v1/tenants", "", "Authorization: "+authorization); resp.StatusCode != 401 {
				t.Errorf("Authorization: %s: %d", authorization, resp.StatusCode)
			}
		}
	}
	// The right token in a form that is not taken.
	for _, headers := range [][]string{
		nil,
		{"Authorization: " + operatorToken},
		{"Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("operator:"+operatorToken))},
		{"Authorization: Bearer  " + operatorToken},
		{"Authorization: Bearer " + operatorToken + ", Bearer " + operatorToken},
		{"Authorization: Bearer wrong", "Authorization: Bearer " + operatorToken},
		{"Authorization: Bearer " + operatorToken, "Authorization: Bearer " + operatorToken},
		{"Proxy-Authorization: Bearer " + operatorToken},
		{"X-Api-Key: " + operatorToken},
		{"Cookie: token=" + operatorToken},
	} {
		resp, body := a.send("", "GET", "/v1/tenants?access_token="+operatorToken, "", headers...)
		if resp.StatusCode != 401 || resp.Header.Get("WWW-Authenticate") == "" || bytes.Contains(body, []byte(operatorToken)) {
			t.Errorf("%q: %d %s", headers, resp.StatusCode, body)
		}
	}
	a.call(200, "GET", "/v1/tenants", "")
}

func TestB17_ARotatedOperatorTokenIsRefused(t *testing.T) {
	a := newAPI(t)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	rotated := serveAPI(t, a.store, func(c *Config, _ *Options) { c.OperatorToken = "the next operator token" })
	if resp, _ := rotated.send(operatorToken, "GET", "/v1/tenants", ""); resp.StatusCode != 401 {
		t.Errorf("the old token: %d", resp.StatusCode)
	}
	rotated.callAs("the next operator token", 200, "GET", "/v1/tenants/acme", "")
}

func TestB17_NoTokenMeansNoAPI(t *testing.T) {
	pattern, err := tenant.NewPattern(tenant.DotPattern, "localhost")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(Config{Pattern: pattern, PageKey: make([]byte, 32)}); err == nil {
		t.Error("a service without an operator token was made")
	}
	if _, err := New(Config{Pattern: pattern, OperatorToken: operatorToken}); err == nil {
		t.Error("a service without a page key was made")
	}
}

// An unknown caller learns nothing of what the request would have met.
func TestRESTAuthenticatesBeforeDecoding(t *testing.T) {
	a := newAPI(t)
	_, first := a.send("wrong", "GET", "/v1/tenants", "")
	for _, r := range [][3]string{
		{"POST", "/v1/tenants", "not JSON"},
		{"GET", "/v1/nothing", ""},
		{"PUT", "/v1/tenants", ""},
		{"GET", "/v1/tenants?page_size=x", ""},
		{"GET", "/v1/tenants?x=" + strings.Repeat("x", maxQuery), ""},
		{"GET", "/", ""},
	} {
		resp, text := a.send("wrong", r[0], r[1], r[2])
		if resp.StatusCode != 401 || !bytes.Equal(text, first) {
			t.Errorf("%s %.40s: %d %s", r[0], r[1], resp.StatusCode, text)
		}
	}
}
