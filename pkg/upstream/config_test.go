package upstream

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/fault"
)

func TestCheckURL(t *testing.T) {
	for raw, want := range map[string]string{
		"https://ghcr.io":                   "https://ghcr.io",
		"https://GHCR.io/":                  "https://ghcr.io",
		"https://ghcr.io:443":               "https://ghcr.io",
		"http://10.0.0.1:80":                "http://10.0.0.1",
		"http://registry:5000":              "http://registry:5000",
		"https://my_registry.example.com":   "https://my_registry.example.com",
		"https://[2606:4700::1]:5000":       "https://[2606:4700::1]:5000",
		"https://docker.io":                 "https://registry-1.docker.io",
		"https://index.docker.io/":          "https://registry-1.docker.io",
		"https://123.dkr.ecr.eu.on.aws":     "https://123.dkr.ecr.eu.on.aws",
		"https://registry.example.com:8443": "https://registry.example.com:8443",
	} {
		u, err := baseURL(raw)
		if err != nil || u.String() != want {
			t.Errorf("%s is %v, %v", raw, u, err)
		}
	}
	for _, raw := range []string{
		"", "ghcr.io", "//ghcr.io", "ftp://ghcr.io", "file:///etc/passwd", "unix:///run/docker.sock", "gopher://ghcr.io", "https:", "https://",
		"https:///v2", "https:ghcr.io", "https://user@ghcr.io", "https://u:p@ghcr.io", "https://@ghcr.io", "https://ghcr.io/v2", "https://ghcr.io/a/b",
		"https://ghcr.io?x=1", "https://ghcr.io?", "https://ghcr.io#x", "https://ghcr.io/#", "https://ghcr.io:", "https://ghcr.io:0", "https://ghcr.io:65536",
		"https://ghcr.io:+1", "https://ghcr.io:0443", "https://ghcr.io:x", "https://ghcr.io.", "https://.ghcr.io", "https://a..b", "https://-a.b", "https://a-.b",
		"https://a b", "https://a%20b", "https://a\nb", "https://ghcr.io\x00", "https://ghcr.io\\@127.0.0.1", "https://gh\u0441r.io", "https://" + strings.Repeat("a", 64) + ".io",
		"https://" + strings.Repeat("a.", 130) + "io", "https://[fe80::1%25eth0]", "https://[::1", "https://[127.0.0.1]", "https://::1", "https://[ghcr.io]",
		"https://x/" + strings.Repeat("a", 9000),
	} {
		err := CheckURL(raw)
		if fault.KindOf(err) != fault.Invalid || fault.From(err).Field != "url" {
			t.Errorf("%q: %v", raw, err)
		}
	}
}

// oddAddresses are spellings of an IPv4 address that some resolver understands.
func oddAddresses(a, b, c, d int) []string {
	var parts [][]string
	for _, n := range []int{a, b, c, d} {
		parts = append(parts, []string{fmt.Sprint(n), fmt.Sprintf("0%o", n), fmt.Sprintf("0x%x", n), fmt.Sprintf("0X%02X", n), fmt.Sprintf("000%o", n)})
	}
	var forms []string
	for i := range 5 {
		for j := range 5 {
			forms = append(forms, strings.Join([]string{parts[0][i], parts[1][j], parts[2][i], parts[3][j]}, "."))
		}
	}
	whole, low := a<<24|b<<16|c<<8|d, b<<16|c<<8|d
	for _, f := range []string{"%d", "0%o", "0x%x", "0X%X", "%d.", "00000000%o"} {
		forms = append(forms, fmt.Sprintf(f, whole), fmt.Sprint(a)+"."+fmt.Sprintf(f, low), fmt.Sprintf("%d.%d.", a, b)+fmt.Sprintf(f, c<<8|d))
	}
	plain := fmt.Sprintf("%d.%d.%d.%d", a, b, c, d)
	return slices.DeleteFunc(forms, func(s string) bool { return s == plain })
}

func TestE1_OddSpellingsOfAddressesAreNoHosts(t *testing.T) {
	count := 0
	for _, a := range [][4]int{{127, 0, 0, 1}, {10, 1, 2, 3}, {169, 254, 169, 254}, {192, 168, 1, 1}, {172, 16, 0, 9}, {8, 8, 8, 8}} {
		for _, host := range oddAddresses(a[0], a[1], a[2], a[3]) {
			count++
			if err := CheckURL("https://" + host + ":5000"); err == nil {
				t.Errorf("%s is taken for a host", host)
			}
		}
	}
	if count < 200 {
		t.Errorf("only %d spellings", count)
	}
}
