package tenant

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/fault"
)

const victim = "acme.reg.example"

// spellings are the six ways to write the victim's host that clients use.
var spellings = []string{
	"acme.reg.example", "ACME.REG.EXAMPLE", "Acme.Reg.Example",
	"acme.reg.example:5000", "acme.reg.example.", "ACME.reg.example.:443",
}

// strangers are hosts that must not lead to the victim.
func strangers() []string {
	hosts := []string{
		// not a host at all
		"", " ", ".", "..", ":", ":5000", "-", "_", "*", "/", "@", "%", "[", "]", "[]", "[]:5000", "localhost:", "\x00",
		// dots
		"acme.reg.example..", "..acme.reg.example", ".acme.reg.example", "acme..reg.example", "acme.reg..example", "acme.reg.example..:5000",
		"acme.reg.example:5000.", "acme。reg。example", "acme．reg．example",
		// ports
		"acme.reg.example:", "acme.reg.example:0", "acme.reg.example:00443", "acme.reg.example:65536", "acme.reg.example:99999999999999999999",
		"acme.reg.example:-1", "acme.reg.example:+80", "acme.reg.example:0x50", "acme.reg.example:http", "acme.reg.example: 80",
		"acme.reg.example:80 ", "acme.reg.example:80:80", "acme.reg.example:80/", "acme.reg.example:٤٤٣", "acme.reg.example.:",
		// other names around it
		"acme.reg.example.evil.tld", "evil.acme.reg.example", "acme.reg.example.com", "xacme.reg.example", "acme.reg.examplex",
		"acme-reg.example", "acme.reg-example", "acmereg.example", "acme", "reg.example", "acme.reg", "example", "main.acme.reg.example",
		// look-alikes
		"аcme.reg.example", "acmе.reg.example", "acme.reg.exampłe", "ａｃｍｅ.reg.example", "acme.reg.e\u00adxample", "acme\u200b.reg.example",
		"xn--cme-7ce.reg.example", "xn--acm-tma.reg.example", "xn--acme.reg.example", "acme.reg.example\u212a", "\u212aacme.reg.example",
		"acme.reg.exa\u0131mple", "acme.xn--reg-.example",
		// characters that are in no host name
		"acme_.reg.example", "_acme.reg.example", "ac_me.reg.example", "acme.reg.example%00", "acme%2ereg.example", "acme%00.reg.example",
		"acme.reg.example\x00", "acme\x00.reg.example", "acme.reg.example\r\n", "acme.reg.example\n", "\tacme.reg.example", " acme.reg.example",
		"acme.reg.example ", "acme .reg.example", "acme.reg.example/", "acme.reg.example/v2", "acme.reg.example\\", "acme\\.reg.example",
		"acme.reg.example?x", "acme.reg.example#x", "http://acme.reg.example", "//acme.reg.example", "user@acme.reg.example",
		"user:pw@acme.reg.example", "acme.reg.example,evil.tld", "acme.reg.example, acme.reg.example", "acme.reg.example;x", "*.reg.example",
		"\"acme.reg.example\"", "acme.reg.example\xff", "\xc0\xae", "acme.reg.example\xc0\x80",
		// hyphens and lengths
		"-acme.reg.example", "acme-.reg.example", "acme.reg.example-", "acme.-reg.example",
		strings.Repeat("a", 64) + ".reg.example", strings.Repeat("a.", 126) + "aa", strings.Repeat("a", 1<<20),
		// addresses in other clothes
		"[acme.reg.example]", "[::1", "::1", "[::1%eth0]", "[127.0.0.1]", "127.0.0.1.1", "127.1", "127.0.0.01", "2130706433", "1.2.3.256", "[::1]x", "[::1]:",
	}
	return hosts
}

func TestA1_HostSpellings(t *testing.T) {
	for _, s := range spellings {
		if got, err := NormalizeHost(s); err != nil || got != victim {
			t.Errorf("NormalizeHost(%q) = %q, %v; want %q", s, got, err, victim)
		}
	}
	others := strangers()
	if len(others) < 114 {
		t.Fatalf("only %d other hosts, want at least 114", len(others))
	}
	seen := map[string]bool{}
	for _, s := range others {
		if seen[s] {
			t.Errorf("%q is listed twice", s)
		}
		seen[s] = true
		got, err := NormalizeHost(s)
		if err == nil && got == victim {
			t.Errorf("NormalizeHost(%q) leads to %s", s, victim)
		}
		if err != nil && !errors.Is(err, errHost) {
			t.Errorf("NormalizeHost(%q): %v; want the constant error", s, err)
		}
	}
}

func TestNormalizeHost(t *testing.T) {
	for in, want := range map[string]string{
		"localhost":                          "localhost",
		"127.0.0.1:5000":                     "127.0.0.1",
		"127.0.0.1.":                         "127.0.0.1",
		"[::1]:5000":                         "[::1]",
		"[0:0:0:0:0:0:0:1]":                  "[::1]",
		"[2001:DB8::A]":                      "[2001:db8::a]",
		"xn--bcher-kva.example:80":           "xn--bcher-kva.example",
		"1and1.example":                      "1and1.example",
		"a.b":                                "a.b",
		strings.Repeat("a", 63) + ".example": strings.Repeat("a", 63) + ".example",
		strings.Repeat(strings.Repeat("a", 62)+".", 4) + "a":                      strings.Repeat(strings.Repeat("a", 62)+".", 4) + "a",
		strings.ToUpper(strings.Repeat(strings.Repeat("a", 62)+".", 4)+"a") + ".": strings.Repeat(strings.Repeat("a", 62)+".", 4) + "a",
	} {
		if got, err := NormalizeHost(in); err != nil || got != want {
			t.Errorf("NormalizeHost(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
	for _, in := range []string{"a_b.example", "a..b", "1.2.3", "[::1]5000", "[::1%25eth0]", strings.Repeat("a.", 127) + "a"} {
		if got, err := NormalizeHost(in); !fault.Is(err, fault.HostUnknown) || fault.KindOf(err) != fault.NotFound {
			t.Errorf("NormalizeHost(%q) = %q, %v; want HOST_UNKNOWN", in, got, err)
		}
	}
}

func FuzzNormalizeHost(f *testing.F) {
	for _, s := range append(strangers(), spellings...) {
		if len(s) < 1024 {
			f.Add(s)
		}
	}
	f.Fuzz(func(t *testing.T, s string) {
		host, err := NormalizeHost(s)
		if err != nil {
			return
		}
		if again, err := NormalizeHost(host); err != nil || again != host {
			t.Fatalf("%q gives %q, which gives %q, %v", s, host, again, err)
		}
		if host == "" || len(host) > maxHost || strings.ToLower(host) != host || strings.ContainsAny(host, "%_/@ \x00") {
			t.Fatalf("%q gives %q", s, host)
		}
	})
}

func ExampleNormalizeHost() {
	host, err := NormalizeHost("Dev.Acme.Example.:5000")
	fmt.Println(host, err)
	// Output: dev.acme.example <nil>
}
