package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// kubeletRequest is what kubelet sends for a pod's image.
const kubeletRequest = `{
  "kind": "CredentialProviderRequest", "apiVersion": "credentialprovider.kubelet.k8s.io/v1",
  "image": "dev.acme.registry.example.com/app:1",
  "serviceAccountToken": "eyJhbGciOiJSUzI1NiJ9.e30.c2ln",
  "serviceAccountAnnotations": {"registry.example.com/account": "web"}
}`

// provide runs the command as kubelet does.
func provide(t *testing.T, request string, args ...string) (int, string, string) {
	t.Helper()
	var out, errs bytes.Buffer
	code := run(t.Context(), append([]string{"credential-provider"}, args...), nil, strings.NewReader(request), &out, &errs)
	return code, out.String(), errs.String()
}

// TestV51_KubeletGetsThePodsTokenAsAPassword for the registry of the image alone.
func TestV51_KubeletGetsThePodsTokenAsAPassword(t *testing.T) {
	for _, c := range []struct{ flag, value, account string }{
		{"--account", "pods", "pods"},
		{"--account-annotation", "registry.example.com/account", "web"},
	} {
		code, out, errs := provide(t, kubeletRequest, c.flag, c.value)
		var got map[string]any
		if err := json.Unmarshal([]byte(out), &got); err != nil || code != exitOK || errs != "" {
			t.Fatalf("%d %s%s, %v", code, out, errs, err)
		}
		want := map[string]any{
			"kind": "CredentialProviderResponse", "apiVersion": "credentialprovider.kubelet.k8s.io/v1", "cacheKeyType": "Registry", "cacheDuration": "0s",
			"auth": map[string]any{"dev.acme.registry.example.com": map[string]any{"username": c.account, "password": "eyJhbGciOiJSUzI1NiJ9.e30.c2ln"}},
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %v, want %v", c.flag, got, want)
		}
	}
}

// TestV51_KubeletLearnsWhatIsMissing, and gets no credential.
func TestV51_KubeletLearnsWhatIsMissing(t *testing.T) {
	for says, c := range map[string]struct {
		request string
		args    []string
	}{
		"not a request":          {"", []string{"--account", "pods"}},
		"not CredentialProvider": {strings.Replace(kubeletRequest, "k8s.io/v1", "k8s.io/v1beta9", 1), []string{"--account", "pods"}},
		"names no registry":      {strings.Replace(kubeletRequest, "dev.acme.registry.example.com/", "", 1), []string{"--account", "pods"}},
		"tokenAttributes":        {strings.Replace(kubeletRequest, "serviceAccountToken", "x", 1), []string{"--account", "pods"}},
		"no annotation other":    {kubeletRequest, []string{"--account-annotation", "other"}},
		"set --account":          {kubeletRequest, nil},
		"kubelet":                {strings.Repeat(" ", maxRequest) + kubeletRequest, []string{"--account", "pods"}},
	} {
		if code, out, errs := provide(t, c.request, c.args...); code != exitFailure || out != "" || !strings.Contains(errs, says) || strings.Contains(errs, "eyJ") {
			t.Errorf("%s: %d %s%s", says, code, out, errs)
		}
	}
}
