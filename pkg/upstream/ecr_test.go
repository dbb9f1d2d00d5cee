package upstream

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
)

const ecrRegistry = "https://123456789012.dkr.ecr.eu-west-1.amazonaws.com"

// ecrWorld has a registry of AWS and its API, which gives the password that the
// registry takes.
func ecrWorld(password *string, api http.HandlerFunc) (*world, *Clients) {
	w, cs := newWorld()
	w.hosts["https://api.ecr.eu-west-1.amazonaws.com"] = api
	w.hosts[ecrRegistry] = func(rw http.ResponseWriter, r *http.Request) {
		if u, p, _ := r.BasicAuth(); u != "AWS" || p != *password {
			rw.Header().Set("WWW-Authenticate", `Basic realm="`+ecrRegistry+`/",service="ecr.amazonaws.com"`)
			rw.WriteHeader(http.StatusUnauthorized)
			return
		}
		sendImage(rw, r)
	}
	return w, cs
}

func TestECR_AccessKeysBecomePasswords(t *testing.T) {
	password, calls := "first", 0
	expires := time.Now().Add(12 * time.Hour)
	w, cs := ecrWorld(&password, func(rw http.ResponseWriter, r *http.Request) {
		calls++
		if !strings.Contains(r.Header.Get("Authorization"), "Credential=AKIAEXAMPLE/") || !strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".GetAuthorizationToken") {
			t.Errorf("the API was asked with %v", r.Header)
		}
		rw.Header().Set("Content-Type", "application/x-amz-json-1.1")
		fmt.Fprintf(rw, `{"authorizationData":[{"authorizationToken":%q,"expiresAt":%d,"proxyEndpoint":%q}]}`,
			base64.StdEncoding.EncodeToString([]byte("AWS:"+password)), expires.Unix(), ecrRegistry)
	})
	c := clientOf(t, cs, Config{Target: Target{URL: ecrRegistry, Username: "AKIAEXAMPLE", Password: "the-secret-key"}})
	for range 3 {
		if err := pullManifest(t, c); err != nil {
			t.Fatal(err)
		}
	}
	if calls != 1 {
		t.Errorf("%d calls for 3 pulls", calls)
	}
	password = "second" // taken back before its time
	if err := pullManifest(t, c); err != nil || calls != 2 {
		t.Errorf("%v after %d calls", err, calls)
	}
	for _, r := range w.requests() {
		for _, v := range r.Header {
			plain, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(v[0], "Basic "))
			if strings.Contains(v[0]+string(plain), "the-secret-key") {
				t.Errorf("the secret key was sent to %s", r.URL)
			}
		}
	}
}

func TestECR_WhatFailuresOfTheAPIComeTo(t *testing.T) {
	password := "x"
	for name, c := range map[string]struct {
		status int
		body   string
		want   fault.Kind
	}{
		"unknown key":  {400, `{"__type":"UnrecognizedClientException","message":"The security token included in the request is invalid."}`, fault.Denied},
		"not allowed":  {400, `{"__type":"AccessDeniedException"}`, fault.Denied},
		"wrong secret": {403, `{"__type":"InvalidSignatureException"}`, fault.Denied},
		"throttled":    {400, `{"__type":"ThrottlingException"}`, fault.TooMany},
		"down":         {500, `{"__type":"ServerException"}`, fault.BadUpstream},
		"a page":       {200, `<html>`, fault.BadUpstream},
		"nothing":      {200, `{}`, fault.BadUpstream},
		"no password":  {200, `{"authorizationData":[{"authorizationToken":"eHh4"}]}`, fault.BadUpstream},
		"endless":      {200, `{"authorizationData":[{"authorizationToken":"` + strings.Repeat("A", 1<<20), fault.BadUpstream},
	} {
		_, cs := ecrWorld(&password, func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", "application/x-amz-json-1.1")
			rw.WriteHeader(c.status)
			fmt.Fprint(rw, c.body)
		})
		err := pullManifest(t, clientOf(t, cs, Config{Target: Target{URL: ecrRegistry, Username: "AKIAEXAMPLE", Password: "the-secret-key"}}))
		if fault.KindOf(err) != c.want || strings.Contains(fault.From(err).Message, "secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestECR_OtherCredentialsAreSentAsTheyAre: a password that someone fetched, and
// registries that are not ECR.
func TestECR_OtherCredentialsAreSentAsTheyAre(t *testing.T) {
	for _, at := range []Target{
		{URL: ecrRegistry, Username: "AWS", Password: "fetched"},
		{URL: ecrRegistry},
		{URL: "https://public.ecr.aws", Username: "AKIAEXAMPLE", Password: "x"},
		{URL: "https://123456789012.dkr.ecr.eu-west-1.amazonaws.com.evil.net", Username: "AKIAEXAMPLE", Password: "x"},
		{URL: "https://evil.dkr.ecr.eu-west-1.amazonaws.com", Username: "AKIAEXAMPLE", Password: "x"},
	} {
		if c := clientOf(t, New(Options{}), Config{Target: at}); c.auth.source != nil {
			t.Errorf("%s is asked for a password", at.URL)
		}
	}
	for _, host := range []string{
		"123456789012.dkr.ecr.us-gov-west-1.amazonaws.com", "123456789012.dkr.ecr-fips.us-east-1.amazonaws.com", "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn",
		"123456789012.dkr-ecr.us-west-2.on.aws",
	} {
		if c := clientOf(t, New(Options{}), Config{Target: Target{URL: "https://" + host, Username: "AKIAEXAMPLE", Password: "x"}}); c.auth.source == nil {
			t.Errorf("%s is not seen to be ECR", host)
		}
	}
}

// TestECR_OverTheWire: AWS's library and our transport understand each other.
func TestECR_OverTheWire(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		fmt.Fprintf(w, `{"authorizationData":[{"authorizationToken":%q}]}`, base64.StdEncoding.EncodeToString([]byte("AWS:p")))
	}))
	defer s.Close()
	cs := newClients(Options{Allow: loopback}, patient())
	cs.ecrURL = s.URL
	c := clientOf(t, cs, Config{Target: Target{URL: ecrRegistry, Username: "AKIAEXAMPLE", Password: "x"}})
	if auth, err := c.auth.credential(t.Context()); err != nil || auth.header != "Basic "+base64.StdEncoding.EncodeToString([]byte("AWS:p")) {
		t.Errorf("%v, %v", auth, err)
	}
}
