package credential

import (
	"log/slog"
	"net/url"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/fault"
)

func TestT54_WhatADeclarationMayBe(t *testing.T) {
	for text, want := range map[string]string{
		"a1: {kind: ecr, tenants: [acme]}": "",
		"a1: {kind: exec, tenants: [\"*\"], hosts: [\"*.example.com\"], command: [/bin/x], lifetime: 1h, timeout: 5s}":    "",
		"a1: {kind: google, tenants: [acme], hosts: [\"registry.example.com:5000\"], metadata_endpoint: http://10.0.0.1}": "",
		"":                           "",
		"a1: {kind: aws}":            "kind \"aws\" is not one of",
		"a1: {kind: ecr}":            "tenants is empty",
		"A_1: {kind: ecr}":           "\"A_1\" is not a name",
		"a1: [x]":                    "is not YAML of the form",
		"a1: {kind: ecr, colour: 1}": "is not YAML of the form",
		"a1: {kind: ecr, tenants: [acme], command: [/bin/x]}":                                                                                  "kind ecr takes no command",
		"a1: {kind: ecr, tenants: [\"Acme!\"]}":                                                                                                "is not the slug of a tenant",
		"a1: {kind: exec, tenants: [acme], command: [/bin/x]}":                                                                                 "kind exec needs hosts",
		"a1: {kind: exec, tenants: [acme], hosts: [a.example]}":                                                                                "kind exec needs command",
		"a1: {kind: exec, tenants: [acme], hosts: [a.example], command: [x]}":                                                                  "is not an absolute path",
		"a1: {kind: file, tenants: [acme], hosts: [\"https://a.example\"], path: /x}":                                                          "is not like registry.example.com",
		"a1: {kind: file, tenants: [acme], hosts: [\"*\"], path: /x}":                                                                          "is not like registry.example.com",
		"a1: {kind: file, tenants: [acme], hosts: [\"A.example\"], path: /x}":                                                                  "is not like registry.example.com",
		"a1: {kind: file, tenants: [acme], hosts: [a.example], path: /x, lifetime: 1s}":                                                        "lifetime: 1s is out of range",
		"a1: {kind: token_exchange, tenants: [acme], hosts: [a.example], username: x, token_file: /x, token_url: \"http://sts.example.com\"}":  "token_url: is http",
		"a1: {kind: token_exchange, tenants: [acme], hosts: [a.example], username: x, token_file: /x, token_url: \"https://u@x.example.com\"}": "token_url: is not a URL",
		"a1: {kind: ecr, tenants: [acme], endpoint: \"http://vpce.example.com\"}":                                                              "endpoint: is http",
	} {
		_, err := Parse([]byte(text))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("a1: {kind: ecr, tenants: [acme]}"))
	f.Add([]byte("a1: {kind: exec, tenants: [\"*\"], hosts: [\"*.example.com:1\"], command: [/bin/x]}"))
	f.Fuzz(func(_ *testing.T, text []byte) {
		if all, err := Parse(text); err == nil {
			_, _ = New(all, slog.New(slog.DiscardHandler)).Find("a1", "acme", &url.URL{Scheme: "https", Host: "a.example"})
		}
	})
}

func TestT55_HostsOfAKind(t *testing.T) {
	declared, err := Parse([]byte(`
aws: {kind: ecr, tenants: [acme]}
gcp: {kind: google, tenants: [acme], hosts: ["mirror.example.com:5000", "*.corp.example"]}
az1: {kind: azure, tenants: ["*"]}
cmd: {kind: exec, tenants: [acme], hosts: [a.example], command: [/bin/x]}`))
	if err != nil {
		t.Fatal(err)
	}
	all := New(declared, slog.New(slog.DiscardHandler))
	for _, c := range []struct {
		helper, tenant, url string
		ok                  bool
	}{
		{"aws", "acme", "https://123456789012.dkr.ecr.eu-west-1.amazonaws.com", true},
		{"aws", "globex", "https://123456789012.dkr.ecr.eu-west-1.amazonaws.com", false},
		{"aws", "acme", "http://123456789012.dkr.ecr.eu-west-1.amazonaws.com", false},
		{"aws", "acme", "https://123456789012.dkr.ecr.eu-west-1.amazonaws.com:8443", false},
		{"aws", "acme", "https://123456789012.dkr.ecr.eu-west-1.amazonaws.com.evil.net", false},
		{"aws", "acme", "https://evil.dkr.ecr.eu-west-1.amazonaws.com", false},
		{"aws", "acme", "https://gcr.io", false},
		{"gcp", "acme", "https://gcr.io", true},
		{"gcp", "acme", "https://eu.gcr.io", true},
		{"gcp", "acme", "https://europe-docker.pkg.dev", true},
		{"gcp", "acme", "https://pkg.dev", false},
		{"gcp", "acme", "https://evilgcr.io", false},
		{"gcp", "acme", "https://evilpkg.dev", false},
		{"gcp", "acme", "https://gcr.io.evil.net", false},
		{"gcp", "acme", "https://mirror.example.com:5000", true},
		{"gcp", "acme", "https://mirror.example.com", false},
		{"gcp", "acme", "https://a.corp.example", true},
		{"gcp", "acme", "http://a.corp.example", false},
		{"gcp", "acme", "https://corp.example", false},
		{"gcp", "acme", "https://.corp.example", false},
		{"gcp", "acme", "https://evilcorp.example", false},
		{"az1", "anyone", "https://acme.azurecr.io", true},
		{"az1", "anyone", "https://acme.eastus.data.azurecr.io", true},
		{"az1", "anyone", "https://azurecr.io", false},
		{"cmd", "acme", "https://a.example", true},
		{"cmd", "acme", "https://gcr.io", false},
		{"none", "acme", "https://gcr.io", false},
	} {
		u, err := url.Parse(c.url)
		if err != nil {
			t.Fatal(err)
		}
		_, err = all.Find(c.helper, c.tenant, u)
		if (err == nil) != c.ok || err != nil && fault.From(err).Field != "credential_helper" {
			t.Errorf("%s for %s at %s: %v, want %v", c.helper, c.tenant, c.url, err, c.ok)
		}
	}
	_, unknown := all.Find("xx", "globex", &url.URL{Scheme: "https", Host: "gcr.io"})
	_, foreign := all.Find("gcp", "globex", &url.URL{Scheme: "https", Host: "gcr.io"})
	if strings.ReplaceAll(unknown.Error(), "xx", "gcp") != foreign.Error() {
		t.Errorf("a helper of others shows: %v, %v", unknown, foreign)
	}
}
