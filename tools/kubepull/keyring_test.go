package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// secretOf is a pull secret with this .dockerconfigjson.
func secretOf(t *testing.T, config string) []byte {
	t.Helper()
	secret, err := json.Marshal(map[string]any{
		"type": "kubernetes.io/dockerconfigjson",
		"data": map[string][]byte{".dockerconfigjson": []byte(config)},
	})
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

// TestU92_CredentialsArePickedAsKubeletDoes has the examples of Kubernetes'
// documentation (Images, "Interpretation of config.json").
func TestU92_CredentialsArePickedAsKubeletDoes(t *testing.T) {
	keys, err := keyringOf(secretOf(t, `{"auths": {
		"my-registry.example/images": {"username": "images", "password": "1"},
		"my-registry.example/images/subpath": {"auth": "c3VicGF0aDoyOjM="},
		"*.kubernetes.io": {"username": "one-label", "password": "4"},
		"*.*.kubernetes.io": {"username": "two-labels", "password": "5"},
		"prefix.*.io": {"username": "middle", "password": "6"},
		"dev.acme.localhost:5000": {"username": "port", "password": "7"},
		"https://old.example/v2/": {"username": "old", "password": "8"}
	}}`))
	if err != nil {
		t.Fatal(err)
	}
	for image, want := range map[string]string{
		"my-registry.example/images/my-image":         "images:1",
		"my-registry.example/images/subpath/my-image": "subpath:2:3 images:1",
		"my-registry.example/other/my-image":          "",
		"abc.kubernetes.io/app":                       "one-label:4",
		"abc.def.kubernetes.io/app":                   "two-labels:5",
		"kubernetes.io/app":                           "",
		"prefix.kubernetes.io/app":                    "middle:6 one-label:4",
		"dev.acme.localhost:5000/app:1":               "port:7",
		"dev.acme.localhost/app:1":                    "",
		"old.example/app":                             "old:8",
	} {
		var have []string
		for _, l := range keys.lookup(image) {
			have = append(have, l.Username+":"+l.Password)
		}
		if !slices.Equal(have, strings.Fields(want)) {
			t.Errorf("%s: have %v, want %s", image, have, want)
		}
	}
}

// FuzzU92_Secret reads what cannot be a secret.
func FuzzU92_Secret(f *testing.F) {
	f.Add([]byte(`{"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": "e30="}}`), "a.b/c")
	f.Add([]byte(`{"type": "Opaque"}`), "")
	f.Add([]byte("kind: Secret"), ":")
	f.Fuzz(func(_ *testing.T, secret []byte, image string) {
		keys, err := keyringOf(secret)
		if err == nil {
			keys.lookup(image)
		}
	})
}
