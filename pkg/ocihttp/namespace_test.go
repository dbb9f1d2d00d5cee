package ocihttp_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/ocihttp"
)

func TestParseNamespace(t *testing.T) {
	long := strings.Repeat(strings.Repeat("a", 62)+".", 4) + "a"
	for query, want := range map[string]string{
		"":                                    "",
		"n=1":                                 "",
		"ns=docker.io":                        "docker.io",
		"ns=Docker.IO":                        "docker.io",
		"ns=ghcr.io.":                         "ghcr.io",
		"ns=localhost":                        "localhost",
		"ns=registry-1.docker.io:443":         "registry-1.docker.io:443",
		"ns=LOCALHOST.:5000":                  "localhost:5000",
		"ns=localhost%3A5000":                 "localhost:5000",
		"ns=127.0.0.1:5000":                   "127.0.0.1:5000",
		"ns=xn--bcher-kva.example":            "xn--bcher-kva.example",
		"ns=" + long + ":65535":               long + ":65535",
		"ns=docker.io&n=3&artifactType=a%2fb": "docker.io",
		"ns=[::1]":                            "[::1]",
		"ns=[0:0::1]:5000":                    "[::1]:5000",
		"ns=%5B2001%3aDB8%3A%3a1%5d%3a5000":   "[2001:db8::1]:5000",
	} {
		if got, err := parseNamespace(t, query); err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", query, got, err, want)
		}
	}
	for _, query := range []string{
		"ns", "ns=", "ns=docker.io&ns=docker.io", "ns=docker.io&ns=", "ns=docker.io/library", "ns=..", "ns=https://docker.io", "ns=docker.io%00",
		"ns=user@docker.io", "ns=docker_io", "ns=docker.io:", "ns=docker.io:0", "ns=docker.io:05000", "ns=docker.io:65536", "ns=docker.io:80:80",
		"ns=[::1", "ns=[::1]5000", "ns=[::1]:", "ns=[::1]:05000", "ns=[::1%25eth0]:5000", "ns=[127.0.0.1]:5000", "ns=::1", "ns=2130706433", "ns=127.1", "ns=%C3%A9.io", "ns=docker.io%20", "ns=docker%2eio%2f..",
		"ns=a" + long, "ns=" + strings.Repeat("a", 1<<12),
	} {
		if got, err := parseNamespace(t, query); !fault.Is(err, fault.RequestInvalid) || fault.From(err).Field != "ns" || got != "" {
			t.Errorf("%.80q: %q, %v; want REQUEST_INVALID", query, got, err)
		}
	}
}

// TestT60_NamespaceHeader: the header means what the parameter does.
func TestT60_NamespaceHeader(t *testing.T) {
	for _, c := range []struct {
		query  string
		header []string
		want   string // empty: refused
	}{
		{"", []string{"docker.io"}, "docker.io"},
		{"n=1", []string{"Docker.IO."}, "docker.io"},
		{"", []string{"[0::1]:5000"}, "[::1]:5000"},
		{"ns=docker.io", []string{"DOCKER.io"}, "docker.io"},
		{"ns=[::1]:5000", []string{"[0::1]:5000"}, "[::1]:5000"},
		{"ns=docker.io", []string{"ghcr.io"}, ""},
		{"ns=localhost:5000", []string{"localhost:5001"}, ""},
		{"", []string{""}, ""},
		{"ns=docker.io", []string{""}, ""},
		{"", []string{"docker.io", "docker.io"}, ""},
		{"", []string{"docker.io, ghcr.io"}, ""},
		{"", []string{"https://docker.io"}, ""},
		{"", []string{strings.Repeat("a", 1<<12)}, ""},
	} {
		q, err := ocihttp.ParseQuery(c.query)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ocihttp.ParseNamespace(q, http.Header{"Oci-Namespace": c.header})
		if got != c.want || (err != nil) != (c.want == "") || err != nil && !fault.Is(err, fault.RequestInvalid) {
			t.Errorf("%q and %.80q: %q, %v; want %q", c.query, c.header, got, err, c.want)
		}
	}
}

func parseNamespace(t *testing.T, query string) (string, error) {
	t.Helper()
	q, err := ocihttp.ParseQuery(query)
	if err != nil {
		t.Fatal(err)
	}
	return ocihttp.ParseNamespace(q, nil)
}

func FuzzParseNamespace(f *testing.F) {
	for _, ns := range []string{"docker.io", "localhost:5000", "LOCALHOST.:5000", "127.0.0.1:80", "[::1]:80", "a_b", "..", "a/b", "a:", "%00", "xn--bcher-kva.example"} {
		f.Add(ns)
	}
	f.Fuzz(func(t *testing.T, ns string) {
		host, err := ocihttp.ParseNamespace(url.Values{"ns": {ns}}, nil)
		if err != nil {
			if !fault.Is(err, fault.RequestInvalid) || host != "" {
				t.Fatalf("%q: %q, %v", ns, host, err)
			}
			return
		}
		if again, err := ocihttp.ParseNamespace(url.Values{"ns": {host}}, nil); err != nil || again != host {
			t.Fatalf("%q gives %q, which gives %q, %v", ns, host, again, err)
		}
		if strings.HasPrefix(host, "[") {
			return
		}
		// Except for its port it is a component of a name.
		name, _, _ := strings.Cut(host, ":")
		if err := oci.CheckName("proxy/" + name + "/app"); err != nil || strings.Contains(name, "/") {
			t.Fatalf("%q gives %q: %v", ns, host, err)
		}
	})
}

// TestE12_Hops: what is not a count between 0 and 5 is one too many.
func TestE12_Hops(t *testing.T) {
	for _, c := range []struct {
		values []string
		want   int
	}{
		{nil, 0},
		{[]string{"0"}, 0},
		{[]string{"1"}, 1},
		{[]string{"5"}, 5},
		{[]string{"6"}, 6},
		{[]string{"9"}, 6},
		{[]string{"10"}, 6},
		{[]string{"01"}, 6},
		{[]string{"-1"}, 6},
		{[]string{"+1"}, 6},
		{[]string{""}, 6},
		{[]string{" "}, 6},
		{[]string{"1 "}, 6},
		{[]string{"x"}, 6},
		{[]string{"٣"}, 6},
		{[]string{strings.Repeat("1", 1<<16)}, 6},
		{[]string{"1", "1"}, 6},
		{[]string{"", ""}, 6},
	} {
		h := http.Header{}
		if c.values != nil {
			h[ocihttp.HeaderHops] = c.values
		}
		if got := ocihttp.ParseHops(h); got != c.want {
			t.Errorf("%.20q: %d, want %d", c.values, got, c.want)
		}
	}
}

func ExampleParseNamespace() {
	ns, err := ocihttp.ParseNamespace(url.Values{"ns": {"Docker.io"}}, nil)
	fmt.Println(ns, err)
	// Output: docker.io <nil>
}
